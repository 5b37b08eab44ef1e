"""From settings to what makes the features that metrics need."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, PluginError, TofuEvalError
from tofu_eval.core.registry import digest_of, origin_of
from tofu_eval.core.sections import name_of, settings_of
from tofu_eval.core.tokens import TOKENISERS
from tofu_eval.core.types import REFERENCE, Group, Prompt, Report
from tofu_eval.features.base import FEATURES, Cache, Feature, Opening, find_feature
from tofu_eval.metrics.base import PLAIN_INPUTS, Metric

_PROBES = (Prompt.of_text("one", "Name a fruit."), Prompt.of_text("other", "Name a river."))


class OpenFeature:
    """A feature with its model: what it gives is checked, what it need not have has a default.

    Args:
        declared: the feature.
        model: what it was opened as.
    """

    def __init__(self, declared: Feature, model: Any) -> None:
        self.declared = declared
        self.model = model
        self.name = declared.name
        lacking = [n for n in ("identity", "signature", "compute") if not hasattr(model, n)]
        if declared.level == "text" and not hasattr(model, "key"):
            lacking.append("key")
        if lacking:
            raise PluginError(
                f"The feature '{self.name}' was opened as {type(model).__name__}, which has no "
                f"{' and no '.join(lacking)}. See docs/extending.md"
            )

    @property
    def of_groups(self) -> bool:
        """Whether it is made of all responses to a prompt together."""
        return self.declared.level == "group"

    @property
    def identity(self) -> dict[str, Any]:
        """Exactly which weights make the numbers; of a feature in a user's file, that file too."""
        file = digest_of(origin_of(self.declared.open))
        return {**self.model.identity, **({"file": file} if file else {})}

    @property
    def signature(self) -> str:
        """The short form of `identity`, cited with a score."""
        return str(self.model.signature)

    @property
    def requires(self) -> tuple[str, ...]:
        """The features that its groups must have."""
        return (*self.declared.needs, *getattr(self.model, "requires", ()))

    @property
    def truncated(self) -> int:
        """How many texts so far were too long for the model."""
        return int(getattr(self.model, "truncated", 0))

    @property
    def asks_prompts(self) -> bool:
        """Whether the prompts matter to it, which some files do not have."""
        if self.of_groups:
            return bool(getattr(self.model, "asks_prompts", False))
        one, other = (self.key(prompt, "An apple.") for prompt in _PROBES)
        return one != other

    def key(self, prompt: Prompt, text: str) -> str:
        """What the row of a pair depends on."""
        return str(self.model.key(prompt, text))

    def compute_rows(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """One row a pair, (len(pairs), width), of a feature of single texts.

        Raises:
            PluginError: the model fails, or does not give one row of numbers a pair.
            TofuEvalError: what the model raises on purpose.
        """
        try:
            given = self.model.compute(pairs)
        except TofuEvalError:
            raise
        except Exception as error:  # a plug-in may fail in any way
            raise self._plugin_error(f"failed: {type(error).__name__}: {error}") from error
        try:
            rows = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise self._plugin_error(
                f"gave something else than rows of numbers: {error}"
            ) from error
        if rows.ndim not in (1, 2) or len(rows) != len(pairs):
            raise self._plugin_error(
                f"gave an array of shape {rows.shape} for {len(pairs)} responses, expected one "
                "row each"
            )
        return rows.reshape(len(pairs), -1)

    def compute_groups(
        self, groups: Sequence[Group], cache: Cache, report: Report
    ) -> Sequence[Mapping[str, Any]]:
        """The new features of each group, by name; raises as `compute_rows`."""
        try:
            given = list(self.model.compute(groups, cache, report))
        except TofuEvalError:
            raise
        except Exception as error:  # a plug-in may fail in any way
            raise self._plugin_error(f"failed: {type(error).__name__}: {error}") from error
        if len(given) != len(groups) or not all(isinstance(more, Mapping) for more in given):
            raise self._plugin_error(
                f"gave {len(given)} mappings for {len(groups)} groups, expected one each"
            )
        return given

    def close(self) -> None:
        """Give the model's memory back, where it says how."""
        getattr(self.model, "close", lambda: None)()

    def _plugin_error(self, what: str) -> PluginError:
        return PluginError(
            f"The feature '{self.name}' {what}. Use other metrics, or run with --debug to see "
            "where."
        )


def open_features(
    chosen: Settings,
    metrics: Iterable[Metric],
    given: Iterable[str] = (),
    verifiers: Mapping[str, str] | None = None,
) -> dict[str, OpenFeature]:
    """The features that the metrics need and nobody has given, each with its model.

    What another is made from stands before it.

    Args:
        chosen: the user's settings.
        metrics: what is to be computed.
        given: features that the groups bring.
        verifiers: the verifier of each task, "" where it names none; None where there are no
            tasks.

    Raises:
        ConfigError: a metric needs what nothing makes, or a model that nobody has named.
        TofuEvalError: a model cannot be had.
    """
    metrics, given = list(metrics), set(given)
    needs = frozenset(need for metric in metrics for need in metric.needs)
    makers: dict[str, Feature] = {}
    for metric in metrics:
        for maker in _makers(metric, given):
            makers[maker.name] = maker
    opened: dict[str, OpenFeature] = {}
    opening = Opening(chosen, needs, verifiers, opened)
    for name in sorted(makers):
        _open(makers[name], opening, opened, given, ())
    return opened


def open_feature(name: str, chosen: Settings) -> OpenFeature:
    """One feature by its name; raises as `open_features`."""
    opened: dict[str, OpenFeature] = {}
    _open(FEATURES.get(name), Opening(chosen, models=opened), opened, set(), ())
    return opened[name]


def unnamed_model(chosen: Settings, metric: Metric) -> list[str]:
    """The flags of which one would have to name a model for this metric; empty where none."""
    for need in metric.needs:
        declared = find_feature(need)
        if declared is not None and (flags := _missing_flags(declared, Opening(chosen))):
            return flags
    return []


def added_metrics(chosen: Settings, needs: Iterable[str]) -> list[str]:
    """The metrics that come of themselves, since the user has named a model for them."""
    opening = Opening(chosen, frozenset(needs))
    declared = [entry.item for entry in FEATURES.entries() if entry.item is not None]
    return [name for one in declared if one.adds is not None for name in one.adds(opening)]


def _makers(metric: Metric, given: set[str]) -> list[Feature]:
    """The features that a metric needs.

    Raises:
        ConfigError: nothing makes one, or the metric has a condition that it cannot have.
    """
    makers = []
    for need in metric.needs:
        if need in given or is_plain(need):
            continue
        declared = find_feature(need)
        if declared is None:
            names = sorted(
                {*PLAIN_INPUTS, *(n for f in FEATURES.load_all().values() for n in f.names)}
            )
            raise ConfigError(
                f"Metric '{metric.name}' needs '{need}'; it can be given {', '.join(names)}."
            )
        if declared.pairwise and "[" in metric.name:
            raise ConfigError(
                f"'{metric.name}' needs '{need}', which is made of all pairs of responses: it has "
                "no conditional form. Take another metric: tofu-eval metrics list"
            )
        makers.append(declared)
    return makers


def is_plain(need: str) -> bool:
    """Whether an input of metrics costs no model: it is there, or made from the texts alone."""
    return need in PLAIN_INPUTS or need.removeprefix(REFERENCE) in TOKENISERS


def _open(
    declared: Feature,
    opening: Opening,
    opened: dict[str, OpenFeature],
    given: set[str],
    above: tuple[str, ...],
) -> None:
    """Open a feature, and before it those that it is made from."""
    name = declared.name
    if name in opened:
        return
    if name in above:
        raise ConfigError(
            f"The feature '{name}' is made from itself: {' > '.join((*above, name))}."
        )
    has_source = bool(declared.needs) and given.issuperset(declared.needs)
    if not has_source and (flags := _missing_flags(declared, opening)):
        raise ConfigError(
            f"The feature '{name}' needs a model that you name: {' or '.join(flags)} MODEL"
        )
    for need in declared.needs:
        _open_need(need, declared, opening, opened, given, (*above, name))
    model = declared.open(opening) if _takes_opening(declared) else declared.open()
    if model is None:  # nothing to open: the groups may bring it
        return
    feature = OpenFeature(declared, model)
    for need in feature.requires:
        _open_need(need, declared, opening, opened, given, (*above, name))
    opened[name] = feature


def _open_need(
    need: str,
    declared: Feature,
    opening: Opening,
    opened: dict[str, OpenFeature],
    given: set[str],
    above: tuple[str, ...],
) -> None:
    if need in given or is_plain(need):
        return
    maker = find_feature(need)
    if maker is None:
        raise ConfigError(
            f"The feature '{declared.name}' is made from '{need}', which nothing makes. "
            f"Known: {', '.join(sorted(FEATURES.load_all()))}"
        )
    _open(maker, opening, opened, given, above)


def _missing_flags(declared: Feature, opening: Opening) -> list[str]:
    """The flags of which the user should have given one, and has given none."""
    values = {
        f"{name_of(kind)}.{one.name}": getattr(opening.settings(kind), one.name)
        for kind in declared.settings
        for one in settings_of(kind)
    }
    if any(values[path] for path in declared.wants):
        return []
    return [one.flag for one in declared.wanted_settings()]


def _takes_opening(declared: Feature) -> bool:
    return bool(inspect.signature(declared.open).parameters)
