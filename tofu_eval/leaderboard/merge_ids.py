"""Ids that say what a thing is: the same on every board, whatever it is called there.

An id is a function of all that a value depends on, and of nothing else. So a second `base` does not
rename the first, the same file under another name is the same model, and boards that are put
together in any order call a thing by one id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tofu_eval.core.types import digest
from tofu_eval.leaderboard.board import FROM_FILE, BoardMetric, BoardModel, BoardTask

OURS = "tofu-eval"
"""The package whose metrics need no digest: their names are one namespace."""

_NAMES_OF_FILES = frozenset({"file", "path"})
"""What an identity may say of a file that is where it lay, not what is in it."""


def task_id(task: BoardTask) -> str:
    """`NAME#` and the start of a digest of name, version, prompts and sampling."""
    facts = [task.name, task.version, task.digest, dict(task.sampling) if task.sampling else None]
    return f"{task.name}#{digest(facts)[:8]}"


def model_id(model: BoardModel) -> str:
    """The start of a digest of weights (or responses), engine, seed and temperature.

    Its names and its series are labels, and no part of it.
    """
    facts = [model.identity, model.engine, model.seed, model.temperature, model.label]
    return digest(facts)[:16]


def metric_id(metric: BoardMetric) -> str:
    """The name of a metric of this package, with its version where that is not the first.

    Of others with `#` and the start of a digest: of a package the name and version, of the user's
    own file all that is known of it.
    """
    if metric.package is not None and metric.package.name == OURS:
        return metric.name if metric.version == 1 else f"{metric.name}#v{metric.version}"
    facts: list[Any] = [metric.name, metric.version]
    if metric.package is not None:
        facts.append(metric.package.name)
    else:
        facts += [metric.level, metric.direction, metric.measures, metric.range]
        facts += [metric.bias, metric.count_sensitive]
    return f"{metric.name}#{digest(facts)[:8]}"


def content_identity(identity: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """An identity without the names of the files that responses came in."""
    if engine != FROM_FILE:
        return dict(identity)
    return {key: _without_names(value) for key, value in identity.items() if _is_content(key)}


def _without_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_names(item) for key, item in value.items() if _is_content(key)}
    return [_without_names(item) for item in value] if isinstance(value, list | tuple) else value


def _is_content(key: str) -> bool:
    return key not in _NAMES_OF_FILES
