"""What the exports for a model's own page share: its rows, a measurement each."""

from __future__ import annotations

from collections.abc import Mapping

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.leaderboard.board import Board, BoardModel, BoardRow
from tofu_eval.leaderboard.exports.base import Option
from tofu_eval.leaderboard.view import metric_labels, task_labels

SOURCE_URL = Option("source_url", "where the board is published", "URL")


def only_model(board: Board) -> BoardModel:
    """The model that all rows are of.

    Raises:
        ConfigError: they are of several.
        DataError: none of them has a value.
    """
    models = {row.model: board.model_by_id[row.model] for row in board.rows}
    if len(models) > 1:
        names = ", ".join(sorted(f"{model.name} ({model.id})" for model in models.values()))
        raise ConfigError(
            f"This format is of one model, the board has {len(models)}: {names}. Name one: "
            "--model NAME"
        )
    if not any(row.value is not None for row in board.rows):
        names = ", ".join(f"'{model.name}'" for model in models.values()) or "no model"
        raise DataError(
            f"The board has no value of {names}, expected one. "
            "Look: tofu-eval leaderboard show FILE"
        )
    return next(iter(models.values()))


def latest_rows(board: Board) -> dict[str, BoardRow]:
    """The rows of the one model by `TASK.METRIC`, each the last that was measured.

    Where a task or a metric stands for several of one name, its id stands for it.

    Raises:
        ConfigError: the rows are of several models.
        DataError: none of them has a value.
    """
    only_model(board)
    tasks, metrics = task_labels(board), metric_labels(board)
    latest: dict[str, BoardRow] = {}
    for row in sorted(board.rows, key=lambda row: (_finished(board, row), row.run)):
        if row.value is not None:
            latest[result_name(row, tasks, metrics)] = row
    return dict(sorted(latest.items()))


def result_name(row: BoardRow, tasks: Mapping[str, str], metrics: Mapping[str, str]) -> str:
    """`TASK.METRIC`, by how a board calls them: what the Hub calls a task of a benchmark."""
    return f"{tasks[row.task]}.{metrics[row.metric]}"


def _finished(board: Board, row: BoardRow) -> str:
    run = board.run_by_id[row.run]
    return run.finished or run.created
