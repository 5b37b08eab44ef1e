"""A board as the Hugging Face Hub reads evaluation results of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tofu_eval.core.errors import ConfigError, DataError, MissingDependencyError
from tofu_eval.leaderboard.view import Row

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def eval_results(
    board: Mapping[str, Any], model: str, *, dataset: str, source: str | None = None
) -> str:
    """YAML for `.eval_results/*.yaml` of a model repository.

    The format: hub-docs, `eval_results.yaml`. A value belongs to a benchmark, which is a dataset
    repository with a task `TASK.METRIC` for each of its leaderboards.

    Args:
        board: with one model, or several of which one is meant.
        model: id of the model.
        dataset: the benchmark, `org/name`.
        source: address of what the values come from, the published board.

    Raises:
        ConfigError: the dataset is no repository.
        DataError: the model has no value.
    """
    if not _REPO.fullmatch(dataset):
        raise ConfigError(
            f"--dataset must be a dataset repository, got '{dataset}'. Example: --dataset ORG/NAME"
        )
    runs = {run["id"]: run for run in board["runs"]}
    entries = []
    for row in _rows(board, model):
        entry: dict[str, Any] = {
            "dataset": {"id": dataset, "task_id": f"{row['task']}.{row['metric']}"},
            "value": row["value"],
            "date": _when(runs[row["run"]]),
        }
        if source is not None:
            entry["source"] = {"url": source, "name": "tofu-eval leaderboard"}
        entries.append({**entry, "notes": _notes(row)})
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000)


def model_index(
    board: Mapping[str, Any], model: str, *, card: Path | None = None, source: str | None = None
) -> str:
    """A model card with the values in its `model-index`.

    Args:
        board: with one model, or several of which one is meant.
        model: id of the model.
        card: a card whose text and other results stay; of the same task and metric, ours replace
            what is there.
        source: address of what the values come from, the published board.

    Raises:
        MissingDependencyError: huggingface-hub is not installed.
        DataError: the model has no value, or the card cannot be read.
    """
    try:
        from huggingface_hub import EvalResult, ModelCard, ModelCardData
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("A model card", "huggingface-hub", "hf") from error
    tasks = {task["id"]: task for task in board["tasks"]}
    results = []
    for row in _rows(board, model):
        task = tasks[row["task"]]
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=task["name"],
                dataset_name=row["task"],
                dataset_args={"version": task["version"], "digest": task["digest"]},
                metric_type=row["metric"],
                metric_value=row["value"],
                metric_name=row["metric"],
                metric_args={
                    **{name: row[name] for name in ("low", "high", "n", "method", "signature")},
                    "run": row["run"],
                },
                source_name=None if source is None else "tofu-eval leaderboard",
                source_url=source,
            )
        )
    if card is None or not card.exists():
        data = ModelCardData(model_name=model, eval_results=results)
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n"))
    try:
        there = ModelCard(card.read_bytes().decode("utf-8"))
    except Exception as error:  # YAML, its content and the encoding can be wrong in many ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{card} is no model card: {type(error).__name__}: {reason}. Correct its YAML, or "
            "write to another file: --output FILE"
        ) from error
    ours = {_slot(result) for result in results}
    others = [r for r in there.data.eval_results or [] if _slot(r) not in ours]
    there.data.eval_results = [*others, *results]
    there.data.model_name = there.data.model_name or model
    return str(there)


def _slot(result: Any) -> tuple[Any, ...]:
    """What a result is of: newer ones of it replace it."""
    args = result.metric_args or {}
    run = args.get("run") if isinstance(args, dict) else None
    return result.dataset_type, result.dataset_name, result.metric_type, run


def _rows(board: Mapping[str, Any], model: str) -> list[Row]:
    rows = [row for row in board["rows"] if row["model"] == model and row["value"] is not None]
    if not rows:
        raise DataError(
            f"The model '{model}' has no value on this board. Look: tofu-eval leaderboard show FILE"
        )
    return rows


def _when(run: Mapping[str, Any]) -> str:
    return str(run["finished"] or run["created"])


def _notes(row: Row) -> str:
    """How the value was made, as far as one line can say it."""
    span = "" if row["low"] is None else f"95% interval {row['low']:.6g} to {row['high']:.6g}; "
    return f"{span}mean over {row['n']} prompts; {row['signature']}; run {row['run']}"
