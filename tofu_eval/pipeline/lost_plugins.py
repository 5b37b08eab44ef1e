"""Functions of the user's that a run was scored with, and that this call does not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.registry import PYTHON, Registry
from tofu_eval.core.sections import Setting, name_of, settings_of
from tofu_eval.features.base import sections
from tofu_eval.metrics import find
from tofu_eval.run.store import Run

NAMES_ALONE = {"verifier.name"}
"""Settings that name what is registered and never a model, so that their names alone tell it."""

DROP = ", or drop what it gave: --only --metric NAME"
"""What scoring again can do otherwise."""


def _lost_plugins(
    run: Run, stored: Mapping[str, Any], options: Mapping[str, Any]
) -> Iterator[tuple[str, Setting, Registry[Any], Mapping[str, Any]]]:
    """What names a function of the user's that is nothing here any more, and what it was.

    Else a model of such a name would be looked for. A file that run.json itself names is never run:
    who wrote that may be anybody.
    """
    features = run.manifest.get("features", {})
    for kind in sections():
        section = name_of(kind)
        part, said = (values.get(section) or {} for values in (stored, options))
        for one in settings_of(kind):
            name = part.get(one.name)
            if name is None or one.registry is None or one.name in said:
                continue
            registry = one.registry()
            if name in registry:
                continue
            if str(name).endswith(PYTHON):
                yield section, one, registry, {"file": name}
                continue
            identity = {} if one.path in NAMES_ALONE else _find_plugin(features, name)
            if identity is not None:
                yield section, one, registry, identity


def refuse_lost_plugins(
    run: Run, stored: Mapping[str, Any], options: Mapping[str, Any], otherwise: str = ""
) -> None:
    """Refuse names that were functions of the user's, and that are nothing here any more.

    Args:
        run: what is scored again.
        stored: its settings, as far as they count here.
        options: what this call says.
        otherwise: what else than naming it again can be done.

    Raises:
        ConfigError: says what to name again.
    """
    for section, one, registry, identity in _lost_plugins(run, stored, options):
        if "file" in identity:
            whose, remedy = "a Python file", f"Name that again: {one.flag} FILE.py"
        elif identity:
            whose, remedy = "a package that is not here", f"Install it, or name another: {one.flag}"
        else:
            whose = "a Python file or a package that is not here"
            remedy = f"Name or install it again: {one.flag} FILE.py"
        raise ConfigError(
            f"{run.path} was scored with the {registry.noun} '{stored[section][one.name]}' of "
            f"{whose}, expected it in this call too: a run keeps no code. {remedy}{otherwise}"
        )


def drop_lost_plugins(
    run: Run, stored: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings without names that are nothing here any more: what they gave is not kept."""
    kept = deepcopy(dict(stored))
    for section, one, _, _ in _lost_plugins(run, stored, options):
        del kept[section][one.name]
    return kept


def refuse_lost_metrics(run: Run) -> None:
    """Refuse to keep metrics that were functions of the user's, and that are nothing here any more.

    Raises:
        ConfigError: says what to name again.
    """
    for name in sorted(
        {name for names in run.manifest.get("scored_metrics", {}).values() for name in names}
    ):
        try:
            find(name)
        except UnknownNameError as error:
            raise ConfigError(
                f"{run.path} was scored with the metric '{name}', which is none of this "
                "installation, expected its Python file or package in this call too: a run keeps "
                "no code. Name it again: --metric FILE.py, or drop it: --only --metric NAME"
            ) from error


def _find_plugin(value: Any, name: object) -> Mapping[str, Any] | None:
    """The identity, somewhere in what run.json says of features, of a plug-in of that name."""
    if not isinstance(value, Mapping):
        return None
    if value.get("kind") == "plugin" and value.get("name") == name:
        return value
    found = (_find_plugin(inner, name) for inner in value.values())
    return next((identity for identity in found if identity is not None), None)
