"""What a feature is, and the decorator that registers one.

A feature is what costs a model (or a tagger, a server, a person's patience) to compute of the
responses: it is made once, kept in the run, and handed to every metric that names it in `needs`.

    @feature(name="shouting")
    class Shouting:
        identity = {"kind": "rule", "version": 1}
        signature = "capitals@1"

        def key(self, prompt, text): return text

        def compute(self, pairs): return [[sum(map(str.isupper, text))] for _, text in pairs]

One of level "text" is made of one response at a time (`FeatureModel`), one of level "group" of
all responses to a prompt together (`GroupFeature`). What a user may set stands in sections
(`core/sections.py`), from which the flags and the config file follow. What is decorated is called
with an `Opening` (or with nothing, if it takes nothing) when a metric needs the feature, and
returns the model. Modules that declare a feature are imported for `--help`: what is heavy, they
import inside functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tofu_eval.core.errors import ConfigError, DuplicateNameError
from tofu_eval.core.registry import Registry, origin_of
from tofu_eval.core.sections import NAME, name_of, settings_of
from tofu_eval.core.termination import finishing, leave_if_asked
from tofu_eval.core.types import Group, Prompt, Report, digest, feature_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tofu_eval.core.config import Settings
    from tofu_eval.core.sections import Setting

CHUNK = 512
"""Rows that are computed and saved together: what a crash can cost."""

Level = Literal["text", "group"]
Opener = TypeVar("Opener", bound=Callable[..., Any])
Section = TypeVar("Section")


class FeatureModel(Protocol):
    """A model that turns (prompt, response) pairs into rows of numbers.

    `identity` says exactly which weights made the numbers, and is what kept rows are found by;
    `signature` is its short form, cited with a score. It may also have `truncated`, the count of
    texts so far that were too long for it, and `close()`, which gives its memory back until the
    next `compute`.
    """

    identity: Mapping[str, Any]
    signature: str

    def key(self, prompt: Prompt, text: str) -> str:
        """What the row depends on, see `pair_key`; pairs with equal keys are computed once."""
        ...

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """One row a pair, (len(pairs), width)."""
        ...


class Cache(Protocol):
    """Rows of numbers by key, kept in the run; `run/feature_cache.py` has one."""

    def find_missing(self, keys: Iterable[str]) -> list[str]:
        """The distinct keys that have no row yet, in their order."""
        ...

    def add(self, keys: Sequence[str], rows: NDArray[np.float32], truncated: int = 0) -> None:
        """Keep new rows, (len(keys), width)."""
        ...

    def rows(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """The rows of `keys`, (len(keys), width); all must be there."""
        ...


class GroupFeature(Protocol):
    """What can only be said of the responses to a prompt together, such as which are equivalent.

    It may also have `requires`, the features that its groups must have for it beside those that
    its declaration needs; `asks_prompts`, whether it shows anybody the prompt; `truncated` and
    `close()`. The other fields are those of a FeatureModel.
    """

    identity: Mapping[str, Any]
    signature: str

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report
    ) -> Sequence[Mapping[str, Any]]:
        """The new features of each group, by name (one row a text, or `reference_…`).

        What costs a model goes through `cache` (see `fill`), so that a resumed run does not pay
        again.
        """
        ...


@dataclass(frozen=True)
class Opening:
    """What a feature is opened with: the user's settings, and what it is made from.

    `needs` are the inputs that the metrics need, `verifiers` the verifier of each task that names
    one, None where there are no tasks, `models` the features opened before, by name; one that the
    groups bring has no model.
    """

    chosen: Settings
    needs: frozenset[str] = frozenset()
    verifiers: Mapping[str, str] | None = None
    models: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, section: type[Section]) -> Section:
        """The user's settings of a section that the feature declares."""
        return self.chosen.section(section)

    @property
    def device(self) -> str | None:
        """Where a model shall run, as PyTorch names it; None for the best there is."""
        return self.chosen.device

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.chosen.seed

    @property
    def isolate(self) -> bool:
        """Whether each model gets a process of its own; an actor of Ray's is one already."""
        from tofu_eval.engines.open import is_isolated

        return self.chosen.scoring != "ray" and is_isolated(self.chosen)


Metrics = Callable[[Opening], Sequence[str]]
"""The metrics that are computed unasked, because the user has named a model for them."""


@dataclass(frozen=True)
class Feature:
    """How a feature is opened, and what there is to know about it before it is.

    `needs` are the features that it is made from; `makes` the names that it gives to groups
    beside its own; `settings` its sections, which it may share with others. `wants` are the
    settings (`section.name`) of which the user must give one, since they name its model. `adds`
    says which metrics come of themselves. Of `pairwise` rows, those of a part of the responses
    cannot be had: no metric on them takes a condition.
    """

    name: str
    open: Callable[..., Any]
    level: Level = "text"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    settings: tuple[type, ...] = ()
    wants: tuple[str, ...] = ()
    adds: Metrics | None = None
    pairwise: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All that it gives to groups."""
        return (self.name, *self.makes)

    def wanted_settings(self) -> list[Setting]:
        """The settings of which the user must give one."""
        declared = {one.path: one for kind in self.settings for one in settings_of(kind)}
        return [declared[path] for path in self.wants]


def _import_declaring() -> None:
    """Import the modules of this folder that declare a feature, and no other: those are light."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        for folder in package.__path__:
            file = Path(folder) / f"{module.name}.py"
            if file.is_file() and b"\n@feature(" in file.read_bytes():
                importlib.import_module(f"{package.__name__}.{module.name}")


FEATURES: Registry[Feature] = Registry(
    "feature",
    "tofu_eval.features",
    group="tofu_eval.features",
    listing="tofu-eval metrics list",
    scan=_import_declaring,
)


def feature(
    *,
    name: str,
    level: Level = "text",
    needs: tuple[str, ...] = (),
    makes: tuple[str, ...] = (),
    settings: tuple[type, ...] = (),
    wants: tuple[str, ...] = (),
    adds: Metrics | None = None,
    pairwise: bool = False,
) -> Callable[[Opener], Opener]:
    """Register a class or a function that opens a feature, and return it unchanged.

    Args:
        name: the word in a metric's `needs`.
        level: "text" or "group".
        needs: features that it is made from.
        makes: further names that it gives to groups.
        settings: its sections.
        wants: see `Feature`, as the other arguments.
        adds: the same.
        pairwise: the same.

    Raises:
        ConfigError: at registration, for what is impossible.
        DuplicateNameError: another place registered the name, or a section of that name.
    """

    def register(opener: Opener) -> Opener:
        if not opener.__module__.startswith(f"{__package__}."):
            FEATURES.load_all()  # so that it is the outsider who meets a name that is taken
        made = Feature(name, opener, level, needs, makes, settings, wants, adds, pairwise)
        _check(made)
        FEATURES.add(name, made, origin_of(opener))
        return opener

    return register


def sections() -> list[type]:
    """The sections of all features that can be loaded, each once, in the order of the features."""
    loaded = [entry.item for entry in FEATURES.entries() if entry.item is not None]
    return list(dict.fromkeys(kind for declared in loaded for kind in declared.settings))


def find_feature(need: str) -> Feature | None:
    """What makes an input of metrics, also of the references; None where no feature does.

    Raises:
        PluginError: a package offers it and cannot be loaded.
    """
    makers = {name: one for one in FEATURES.load_all().values() for name in one.names}
    if need in makers:
        return makers[need]
    feature_name = feature_of(need)
    if feature_name in FEATURES:
        feature = FEATURES.get(feature_name)
        return feature if feature_name == need or feature.level == "text" else None
    return None


def pair_key(prompt: Prompt, text: str) -> str:
    """Hex digest of a prompt's messages and a response: what most rows depend on."""
    return digest([[[m.role, m.content] for m in prompt.messages], text])


def fill(
    cache: Cache,
    keys: Iterable[str],
    compute: Callable[[Sequence[str]], tuple[NDArray[np.float32], int]],
    *,
    stage: str,
    report: Report,
) -> None:
    """Compute the rows that `cache` lacks, some hundreds at a time, and save each lot at once.

    `compute` gives the rows of some keys, and how many of them stand on a text that was cut;
    `stage` is what `report` calls the work.
    """
    missing = cache.find_missing(keys)
    with finishing():
        for start in range(0, len(missing), CHUNK):
            leave_if_asked()
            report(stage, start, len(missing))
            chunk = missing[start : start + CHUNK]
            cache.add(chunk, *compute(chunk))
    if missing:
        report(stage, len(missing), len(missing))


def _check(made: Feature) -> None:
    """Refuse what is impossible, and a section whose name another has."""
    from tofu_eval.metrics.base import PLAIN_INPUTS

    if not NAME.fullmatch(made.name) or made.name in PLAIN_INPUTS:
        raise ConfigError(
            f"The feature '{made.name}' needs a name of small letters, digits and '_', and not one "
            f"of what every metric can have: {', '.join(PLAIN_INPUTS)}."
        )
    if made.level not in ("text", "group"):
        raise ConfigError(
            f"The feature '{made.name}' has the level {made.level!r}; expected 'text' or 'group'."
        )
    paths = {one.path for kind in made.settings for one in settings_of(kind)}
    if unknown := [path for path in made.wants if path not in paths]:
        raise ConfigError(
            f"The feature '{made.name}' wants the setting '{unknown[0]}', which none of its "
            f"sections has. Known: {', '.join(sorted(paths))}"
        )
    others = {
        name_of(kind): kind
        for other in FEATURES.items_so_far().values()
        if other.name != made.name
        for kind in other.settings
    }
    for kind in made.settings:
        if others.get(name_of(kind), kind) is not kind:
            raise DuplicateNameError(
                f"Two sections of settings are called '{name_of(kind)}': {others[name_of(kind)]!r} "
                f"and {kind!r}. Rename one of them."
            )
