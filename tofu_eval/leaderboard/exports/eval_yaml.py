"""`eval.yaml` of a benchmark's dataset repository, as the Hugging Face Hub reads it.

The format: hub-docs, `eval-results.md`, "Eval.yaml specification".
"""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.escape import printable
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.exports.base import Option, export
from tofu_eval.leaderboard.exports.one_model import result_name
from tofu_eval.leaderboard.view import metric_labels, task_labels

FRAMEWORK = "tofu-eval"


@export(
    name="eval-yaml",
    help="eval.yaml of a benchmark's dataset repository on the Hub",
    options=(
        Option("title", "what the Hub calls the benchmark", required=True),
        Option("framework", f"the Hub's name of what evaluates; {FRAMEWORK} by default"),
        Option("config", "configuration of the dataset"),
        Option("split", "split of the dataset"),
    ),
)
def eval_yaml(
    board: Board,
    *,
    title: str,
    framework: str = FRAMEWORK,
    config: str | None = None,
    split: str | None = None,
) -> str:
    """YAML with a task for each task and metric of the board that has a value.

    A task's id is the `task_id` of the models' `.eval_results` (`eval-results` writes those).

    Args:
        board: a leaderboard, or the part of it that the benchmark is.
        title: what the Hub calls the benchmark.
        framework: one of those that the Hub lists.
        config: configuration of the dataset.
        split: split of the dataset.

    Raises:
        ConfigError: the title is empty.
        DataError: the board has no value.
    """
    if not title.strip():
        raise ConfigError("--title is empty, expected what the Hub calls the benchmark.")
    rows = _first_rows(board)
    if not rows:
        raise DataError("The board has no value, expected one. Look: tofu-eval leaderboard show")
    where = {name: value for name, value in (("config", config), ("split", split)) if value}
    content = {
        "name": title,
        "description": _description(board),
        "evaluation_framework": framework,
        "tasks": [{"id": name, **where} for name in rows],
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    return _remarks(board, rows) + text


def _first_rows(board: Board) -> dict[str, BoardRow]:
    """A row for each id of a task, in the order of the alphabet."""
    tasks, metrics = task_labels(board), metric_labels(board)
    rows: dict[str, BoardRow] = {}
    for row in board.rows:
        if row.value is not None:
            rows.setdefault(result_name(row, tasks, metrics), row)
    return dict(sorted(rows.items()))


def _description(board: Board) -> str:
    tasks = {row.task for row in board.rows}
    names = ", ".join(sorted(board.task_by_id[id].name for id in tasks))
    return f"Diversity and quality of several responses to each prompt, on {names}."


def _remarks(board: Board, rows: dict[str, Any]) -> str:
    """What the Hub's format has no field for, as comments."""
    lower = [
        name
        for name, row in rows.items()
        if sign_of_direction(board.metric_by_id[row.metric].direction) < 0
    ]
    texts = ["Goes to the root of the dataset repository. The Hub checks evaluation_framework "
             "against its list of frameworks when this file is pushed."]  # fmt: skip
    if lower:
        texts.append(f"Lower is more diverse, or better: {', '.join(lower)}.")
    lines = [line for text in texts for line in textwrap.wrap(printable(text), 95)]
    return "".join(f"# {line}\n" for line in lines)
