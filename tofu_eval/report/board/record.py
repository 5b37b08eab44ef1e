"""What the page of a board draws from: its rows and names as one compact record.

A board is other people's text. Each text is shortened and made printable here, once; the page puts
it into nodes of text and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tofu_eval.analysis.direction import arrow_of, sign_of_direction
from tofu_eval.core.errors import TofuEvalError
from tofu_eval.core.escape import printable
from tofu_eval.leaderboard.board import Board, BoardMetric, BoardRow, RowKey
from tofu_eval.leaderboard.publishing.versions import Past
from tofu_eval.leaderboard.ranks import BlockKey, block_key
from tofu_eval.leaderboard.view import metric_labels, model_labels, task_labels
from tofu_eval.metrics import METRICS

Record = dict[str, Any]

LONGEST = 160
"""Characters of a name, a reason or a signature that the page shows."""

GROUPS = ("diversity", "quality")
"""What a metric measures, in the order of the columns; all else comes after."""

DIGITS = 6
"""Significant digits of the numbers behind the drawings."""


def short_text(text: object, longest: int = LONGEST) -> str:
    """Text of others on one line, its end left out where it is long."""
    shown = str(text)
    if len(shown) <= longest:
        return printable(shown)
    return f"{printable(shown[: longest - 1])}…"


def short_number(value: float | None) -> float | None:
    """A number with DIGITS digits."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Names:
    """How the page calls what a board holds."""

    tasks: Mapping[str, str]
    metrics: Mapping[str, str]
    models: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, board: Board) -> Names:
        """Of a board, each name short."""
        return cls(
            {id: short_text(name) for id, name in task_labels(board).items()},
            {id: short_text(name) for id, name in metric_labels(board).items()},
            {place: short_text(name) for place, name in model_labels(board).items()},
        )


def metrics_in_order(board: Board) -> list[BoardMetric]:
    """The metrics: diversity, quality, the others; in each what people see first."""
    return sorted(
        board.metrics,
        key=lambda metric: (_group_place(metric), -_human(metric), metric.name, metric.id),
    )


def measurer_text(board: Board, run: str) -> str:
    """Who measured: the name that the run has, else its id."""
    by = board.run_by_id[run].by
    return f"run {run[:8]}" if by is None else short_text(by)


def board_record(board: Board, names: Names, history: Sequence[Past] = ()) -> Record:
    """What the script of the page reads.

    Args:
        board: a leaderboard.
        names: of it.
        history: the versions before this one, the last one last.
    """
    metrics, runs = metrics_in_order(board), list(board.runs)
    places = {
        "task": {task.id: i for i, task in enumerate(board.tasks)},
        "metric": {metric.id: i for i, metric in enumerate(metrics)},
        "run": {run.id: i for i, run in enumerate(runs)},
    }
    entries = {key: i for i, key in enumerate(names.models)}
    blocks: dict[BlockKey, int] = {}
    reasons: dict[str, int] = {}
    before = _rows_before(history)
    rows = []
    for row in board.rows:
        block = blocks.setdefault(block_key(row, board.metric_by_id[row.metric]), len(blocks))
        entry = entries[row.run, row.model]
        rows.append([block, entry, *_numbers(row), _reason(row, reasons), _was(row, before)])
    return {
        "tasks": [names.tasks[task.id] for task in board.tasks],
        "metrics": [
            {
                "label": names.metrics[metric.id],
                "arrow": arrow_of(metric.direction),
                "sign": sign_of_direction(metric.direction),
                "group": metric.measures if metric.measures in GROUPS else "other",
            }
            for metric in metrics
        ],
        "runs": [measurer_text(board, run.id) for run in runs],
        "entries": [
            [model, places["run"][run], label] for (run, model), label in names.models.items()
        ],
        "blocks": [
            [
                places["task"][task],
                places["metric"][metric],
                responses,
                None if cluster is None else short_text(cluster),
                short_text(signature),
            ]
            for task, metric, signature, cluster, responses in blocks
        ],
        "reasons": list(reasons),
        "rows": rows,
        "earlier": bool(history),
    }


def excluded_of(board: Board, rows: Sequence[BoardRow]) -> list[tuple[str, list[str]]]:
    """What has no rank, or no value, and why: a reason and the metrics that it is about."""
    found: dict[str, list[str]] = {}
    labels = metric_labels(board)
    for row in rows:
        if row.unranked is not None:
            found.setdefault(row.unranked, []).append(labels[row.metric])
        if row.undefined:
            prompts = f"{row.undefined} prompt{'' if row.undefined == 1 else 's'}"
            found.setdefault(f"{prompts} without a value", []).append(labels[row.metric])
    return [
        (short_text(reason, 400), [short_text(name) for name in dict.fromkeys(metrics)])
        for reason, metrics in found.items()
    ]


def _numbers(row: BoardRow) -> list[Any]:
    return [
        *map(short_number, (row.value, row.low, row.high)),
        *(row.n, row.undefined, row.rank, row.rank_last, row.better_than, row.worse_than),
        *(None if share is None else round(share, 3) for share in (row.beats,)),
    ]


def _reason(row: BoardRow, reasons: dict[str, int]) -> int | None:
    if row.unranked is None:
        return None
    return reasons.setdefault(short_text(row.unranked, 400), len(reasons))


def _rows_before(history: Sequence[Past]) -> Mapping[RowKey, BoardRow] | None:
    """The rows of the version before this one; None where there is none that can be read."""
    if not history or history[-1].board is None:
        return None
    return {row.key: row for row in history[-1].board.rows}


def _was(row: BoardRow, before: Mapping[RowKey, BoardRow] | None) -> list[int] | int | None:
    """The ranks that the row had, 0 where it is new, None where nobody knows."""
    if before is None:
        return None
    old = before.get(row.key)
    if old is None:
        return 0
    return None if old.rank is None or old.rank_last is None else [old.rank, old.rank_last]


def _group_place(metric: BoardMetric) -> int:
    return GROUPS.index(metric.measures) if metric.measures in GROUPS else len(GROUPS)


def _human(metric: BoardMetric) -> float:
    """How well the metric sees what people see; 0 where nobody measured it, or it is not ours."""
    if metric.package is None or metric.package.name != "tofu-eval":
        return 0.0
    try:
        return METRICS.get(metric.name).human or 0.0
    except TofuEvalError:  # one that came or went with another release, or under a condition
        return 0.0


def measured_rows(board: Board) -> Counter[str]:
    """How many rows each run has on the board."""
    return Counter(row.run for row in board.rows)
