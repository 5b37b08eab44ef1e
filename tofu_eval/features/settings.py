"""A user's settings, checked: those of the run and the sections of all features that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tofu_eval.core.config import (
    RunFile,
    Scoring,
    Settings,
    make_validated,
    read_yaml,
    with_sections,
)
from tofu_eval.core.errors import ConfigError, StoreError
from tofu_eval.core.ray_actors import scoring_actors
from tofu_eval.core.registry import PYTHON
from tofu_eval.core.secrets import has_password, hide_password
from tofu_eval.core.sections import name_of, settings_of
from tofu_eval.features.base import sections


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Check settings that come from Python or from flags.

    Args:
        values: the fields of `Settings`, and for each section a mapping of its fields. Python
            files among the metrics, or where a reward model, a judge or a verifier is named, are
            run.

    Raises:
        ConfigError: names the first field that is wrong, what it got and what it may be; or a file
            fails.
    """
    return check_settings(run_named_files(values))


def read_scoring_settings(values: Mapping[str, Any], *, limit: bool = True) -> Settings:
    """Check settings where nothing is generated; `limit` says whether that one has a meaning.

    Raises:
        ConfigError: as `read_settings`, and for a setting that has no meaning here.
    """
    values = run_named_files(values)
    own = [name for name in Scoring.model_fields if limit or name != "limit"]
    sections_known = [*own, *map(name_of, sections())]
    for name in values:
        if name not in sections_known and (name in RunFile.model_fields or name == "limit"):
            raise ConfigError(
                f"The setting '{name}' has no meaning where nothing is generated. "
                f"Known here: {', '.join(sections_known)}."
            )
    return _check_scoring(_check_values(values))


def read_run_file(path: Path) -> RunFile:
    """Read a config file; safe YAML, unknown and repeated keys refused.

    Raises:
        ConfigError: the file is not there, not YAML, or a field is wrong.
    """
    values = run_named_files(read_yaml(path, "'models:' and 'tasks:'"))
    kind: type[RunFile] = with_sections(RunFile, tuple(sections()))
    return make_validated(kind, values, f"{path}: ")


def stored_settings(values: Mapping[str, Any]) -> Settings:
    """The settings of a run that was made before, perhaps by another: no file is run.

    The sections of features that are not installed here are left out.
    """
    known = {*Settings.model_fields, *map(name_of, sections())}
    return _check_values({name: value for name, value in values.items() if name in known})


def settings_in(run_json: Path, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that a run.json holds, as they stand there.

    Raises:
        StoreError: they are none.
    """
    try:
        stored_settings(values or {})
    except ConfigError as error:
        raise StoreError(
            f"{run_json} is damaged: settings: {error} Restore that file or use a new --output."
        ) from error
    return dict(values or {})


def load_metric_files(metrics: object) -> object:
    """Metrics as a user names them, each Python file run and replaced by the metrics in it.

    Raises:
        ConfigError: a file fails, or has no metric.
    """
    from tofu_eval.metrics.base import METRICS

    if not isinstance(metrics, list | tuple):
        return metrics  # which is no list of names, as its check says
    names: list[object] = []
    for name in metrics:
        names += METRICS.in_file(name) if str(name).endswith(PYTHON) else [name]
    return names


def check_settings(values: Mapping[str, Any]) -> Settings:
    """Check settings without running a file that they name: what a run holds may be anybody's.

    Raises:
        ConfigError: as `read_settings`.
    """
    return _check_scoring(_check_values(values))


def _check_scoring(chosen: Settings) -> Settings:
    """The settings, where what they say of Ray can be."""
    scoring_actors(chosen)
    return chosen


def _check_values(values: Mapping[str, Any]) -> Settings:
    kind: type[Settings] = with_sections(Settings, tuple(sections()))
    chosen = make_validated(kind, values, "")
    _check_no_password(chosen)
    return chosen


def _check_no_password(chosen: Settings) -> None:
    """Refuse an address with a password where a model or a file is named: run.json keeps it."""
    for kind in sections():
        part = getattr(chosen, name_of(kind))
        for one in settings_of(kind):
            value = getattr(part, one.name)
            if isinstance(value, str) and has_password(value):
                raise ConfigError(
                    f"{one.path} ({one.flag}) must not hold a user or a password: the run would "
                    f"keep it. Got '{hide_password(value)}'."
                )


def run_named_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the names of what is in Python files, where the user names such files.

    Raises:
        ConfigError: a file fails, or has no such thing.
    """
    values = dict(values)
    if "metrics" in values:
        values["metrics"] = load_metric_files(values["metrics"])
    if isinstance(values.get("methods"), list | tuple):
        values["methods"] = _method_names(values["methods"])
    if str(values.get("engine")).endswith(PYTHON):
        from tofu_eval.engines.open import ENGINES

        values["engine"] = ENGINES.only_in_file(str(values["engine"]))
    for kind in sections():
        part = values.get(name_of(kind))
        if isinstance(part, Mapping):
            values[name_of(kind)] = {**part, **_names_in_files(kind, part)}
    return values


def _method_names(methods: Sequence[object]) -> list[object]:
    """Methods as a user names them, each Python file run and replaced by the methods in it."""
    from tofu_eval.engines.methods.base import METHODS

    names: list[object] = []
    for name in methods:
        names += METHODS.in_file(str(name)) if str(name).endswith(PYTHON) else [name]
    return names


def _names_in_files(kind: type, part: Mapping[str, Any]) -> dict[str, str]:
    """Of a section, the settings that name a Python file, with the name of what is in it."""
    return {
        one.name: one.registry().only_in_file(text)
        for one in settings_of(kind)
        if one.registry is not None and (text := str(part.get(one.name))).endswith(PYTHON)
    }
