"""CSV: a row a row, for spreadsheets and programs."""

from __future__ import annotations

from tofu_eval.core.escape import csv_text
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.view import citation, package_text, warnings_of_row

FIELDS = (
    "task", "task_version", "metric", "metric_version", "direction", "model", "model_id", "run",
    "rank", "rank_last", "better_than", "worse_than", "beats", "beats_low",
    "beats_high", "unranked", "value", "low", "high", "n",
    "undefined", "responses", "characters", "cluster", "void", "series", "method", "signature",
    "warnings", "task_package", "metric_package", "citation",
)  # fmt: skip


@export(name="csv", help="a row a row, full numbers; what a spreadsheet would compute is text")
def as_csv(board: Board) -> str:
    """Undefined is an empty field."""
    return csv_text(FIELDS, (_fields(board, i) for i in range(len(board.rows))))


def _fields(board: Board, i: int) -> list[object]:
    row = board.rows[i]
    task, metric = board.task_by_id[row.task], board.metric_by_id[row.metric]
    others = {
        "task": task.name,
        "task_version": task.version,
        "metric": metric.name,
        "metric_version": metric.version,
        "direction": metric.direction,
        "model": board.model_by_id[row.model].name,
        "model_id": row.model,
        "series": board.model_by_id[row.model].series,
        "warnings": " ".join(warnings_of_row(board, row)),
        "task_package": package_text(task),
        "metric_package": package_text(metric),
        "citation": citation(board, row),
    }
    return [others[name] if name in others else getattr(row, name) for name in FIELDS]
