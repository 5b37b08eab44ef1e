"""Whether the numbers of a board are what they were made from, as far as anybody can tell.

Reading a board checks its form and its hash, which somebody who changes it can make anew. This
makes the numbers themselves anew: counts, values, intervals and ranks from the per-prompt rows
where there are any, and without them what no study can give: a value out of its metric's range, a
rank that the order of the values contradicts, a metric of this package that is not as this package
has it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.intervals import method_of
from tofu_eval.core.errors import DataError, TofuEvalError
from tofu_eval.leaderboard.board import (
    RANK_FIELDS,
    Board,
    BoardMetric,
    BoardRow,
    Source,
    bound_of,
)
from tofu_eval.leaderboard.merge_ids import OURS
from tofu_eval.leaderboard.prompt_scores import (
    Values,
    clusters_by_row,
    defining_scores,
    interval_of,
    is_close,
    responses_by_row,
    row_keys,
    values_by_row,
)
from tofu_eval.leaderboard.ranks import group_by_block, rank_rows, unequal_lengths
from tofu_eval.leaderboard.schema import shortened
from tofu_eval.metrics import METRICS

_REMEDY = "Get the board from who made it, or build it anew: tofu-eval leaderboard build RUN"
_SLACK = 1e-9
"""How far out of a range rounding may put a value, relative to it."""

_FACTS = ("direction", "measures", "level", "range", "bias")
"""What the values of a metric of this package mean, which a board may not say otherwise."""


@dataclass(frozen=True)
class Checked:
    """What was made anew: rows with per-prompt rows, their intervals, blocks that were ranked."""

    rows: int
    intervals: int
    blocks: int


def validate(source: Source) -> Checked:
    """Make the numbers of a board anew, and refuse what differs.

    Raises:
        DataError: `NAME at PLACE: expected …, got …`.
    """
    board, scores = source.board, source.scores
    for place, problem in (*_metric_problems(board), *_range_problems(board)):
        raise DataError(f"{source.name} at {place}: {problem}. {_REMEDY}")
    for place, problem in (*_order_problems(board), *_warning_problems(board)):
        raise DataError(f"{source.name} at {place}: {problem}. {_REMEDY}")
    if scores is None:
        return Checked(0, 0, 0)
    checked = _check_numbers(source.name, board, scores)
    return Checked(*checked, _check_ranks(source.name, board, scores))


def _metric_problems(board: Board) -> Iterator[tuple[str, str]]:
    """Metrics of this package that the board says other things of than the package does."""
    for i, metric in enumerate(board.metrics):
        if metric.package is None or metric.package.name != OURS:
            continue
        for fact, wanted in _installed_facts(metric).items():
            got = getattr(metric, fact)
            if wanted != (list(got) if isinstance(got, tuple) else got):
                yield (
                    f"$.metrics[{i}].{fact}",
                    f"expected {shortened(wanted)}, which '{metric.name}' version {metric.version} "
                    f"of tofu-eval has, got {shortened(got)}",
                )


def _installed_facts(metric: BoardMetric) -> dict[str, Any]:
    """What the installed package says of a metric; nothing where it has not that version."""
    try:
        facts = METRICS.get(metric.name.partition("[")[0]).facts()
    except TofuEvalError:  # one that came or went with another release
        return {}
    return {fact: facts[fact] for fact in _FACTS} if facts["version"] == metric.version else {}


def _range_problems(board: Board) -> Iterator[tuple[str, str]]:
    """Values and ends of intervals that their metric cannot have."""
    for i, row in enumerate(board.rows):
        metric = board.metric_by_id[row.metric]
        if metric.level == "corpus" and row.n > 1:
            continue  # an estimate from leaving out blocks, which may lie a little outside
        for name in ("value", "low", "high"):
            number = getattr(row, name)
            # Intervals are kept within ends that are numbers, not within "n".
            responses = row.responses if name == "value" else None
            if number is None or _lies_in(number, *_ends(metric, responses)):
                continue
            yield (
                f"$.rows[{i}].{name}",
                f"expected a number from {metric.range[0]} to {metric.range[1]}, the range of "
                f"'{metric.name}', got {number}",
            )


def _ends(metric: BoardMetric, responses: int | None) -> tuple[float | None, float | None]:
    return bound_of(metric.range[0], responses), bound_of(metric.range[1], responses)


def _lies_in(number: float, least: float | None, most: float | None) -> bool:
    slack = _SLACK * max(1.0, abs(number))
    return (least is None or number >= least - slack) and (most is None or number <= most + slack)


def _order_problems(board: Board) -> Iterator[tuple[str, str]]:
    """Ranks that the values contradict, where all rows of a block stand on all prompts.

    There, what is significantly better is better on average; on different prompts it need not be.
    """
    places = {row.key: i for i, row in enumerate(board.rows)}
    for members in group_by_block(board.rows, board.metric_by_id).values():
        ranked = [row for row in members if row.rank is not None]
        if len({row.n for row in ranked}) > 1 or any(row.undefined for row in ranked):
            continue
        sign = 1 if ranked and _is_higher_better(board, ranked[0]) else -1
        values = np.sort([sign * _number(row.value) for row in ranked])
        for row in ranked:
            better = len(values) - int(np.searchsorted(values, sign * _number(row.value), "right"))
            if (row.rank or 1) - 1 > better:
                yield (
                    f"$.rows[{places[row.key]}].rank",
                    f"expected at most {better + 1}, because {better} rows that compare have a "
                    f"better value, got {row.rank}",
                )


def _warning_problems(board: Board) -> Iterator[tuple[str, str]]:
    """Comparisons without a warning that their rows call for, or with one that they contradict."""
    for i, comparison in enumerate(board.comparisons):
        rows = [row for row in board.rows if row.run == comparison.run]
        base = {(row.task, row.metric): row for row in rows if (row.model,) == comparison.baseline}
        told = [w for w in comparison.warnings if w.kind == "lengths" and w.voids]
        for row in rows:
            other = base.get((row.task, row.metric))
            if other is None or other is row or not _is_lone(board, row.model):
                continue
            wanted = bool(unequal_lengths([row, other]))
            if any(warning.is_about(row) for warning in told):
                # Nearer lengths may void a difference too; a board cannot tell without the texts.
                contradicted = row.characters is None or other.characters is None
            else:
                contradicted = wanted
            if contradicted:
                yield (
                    f"$.comparisons[{i}].warnings",
                    f"expected {'a' if wanted else 'no'} warning of unequal lengths on "
                    f"'{row.metric}' of {row.model}: responses of {shortened(row.characters)} and "
                    f"{shortened(other.characters)} characters",
                )


def _is_lone(board: Board, id: str) -> bool:
    """Whether a model is no seed of a series, whose seeds are compared together."""
    return board.model_by_id[id].series is None


def _is_higher_better(board: Board, row: BoardRow) -> bool:
    return sign_of_direction(board.metric_by_id[row.metric].direction) > 0


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _check_numbers(name: str, board: Board, scores: pa.Table) -> tuple[int, int]:
    """Hold counts, values and intervals against the per-prompt rows."""
    values = values_by_row(defining_scores(scores))
    clusters = clusters_by_row(scores)
    responses = responses_by_row(scores)
    rows = intervals = 0
    for i, row in enumerate(board.rows):
        if row.key not in values:
            continue
        rows += 1
        metric = board.metric_by_id[row.metric]
        wanted = _made_anew(
            row, metric, values[row.key], responses.get(row.key), clusters.get(row.key)
        )
        intervals += row.low is not None
        if (row.cluster is None) != (row.key not in clusters):
            raise DataError(
                f"{name} at $.rows[{i}].cluster: its per-prompt rows have "
                f"{'clusters' if row.cluster is None else 'none'}, got {shortened(row.cluster)}. "
                f"{_REMEDY}"
            )
        for fact, expected in wanted.items():
            got = getattr(row, fact)
            agree = is_close if fact in ("value", "low", "high") else operator.eq
            if not agree(got, expected):
                raise DataError(
                    f"{name} at $.rows[{i}].{fact}: expected {shortened(expected)}, which its "
                    f"per-prompt rows give, got {shortened(got)}. {_REMEDY}"
                )
    return rows, intervals


def _made_anew(
    row: BoardRow,
    metric: BoardMetric,
    values: Values,
    responses: int | None,
    clusters: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The numbers of a row from its per-prompt rows."""
    interval = interval_of(values, metric, clusters)
    facts: dict[str, Any] = {
        "n": interval.n,
        "undefined": len(values) - interval.n,
        "responses": responses,
        "value": interval.value,
    }
    facts |= {"low": interval.low, "high": interval.high}
    facts["method"] = method_of(interval, level=metric.level, bias=metric.bias)
    return facts


def _check_ranks(name: str, board: Board, scores: pa.Table) -> int:
    """Rank the blocks that have per-prompt rows anew; how many there are."""
    names = {task.id: task.name for task in board.tasks}
    anew = rank_rows(board.rows, board.metric_by_id, scores, names, board.comparisons)
    made = {row.key: row for row in anew}
    known = row_keys(scores.filter(scores.column("value").is_valid()))
    blocks = 0
    places = {row.key: i for i, row in enumerate(board.rows)}
    for members in group_by_block(board.rows, board.metric_by_id).values():
        if not all(row.key in known for row in members):
            continue
        blocks += 1
        for row in members:
            for fact in RANK_FIELDS:
                wanted, got = getattr(made[row.key], fact), getattr(row, fact)
                agree = is_close if fact.startswith("beats") else operator.eq
                if not agree(got, wanted):
                    raise DataError(
                        f"{name} at $.rows[{places[row.key]}].{fact}: expected "
                        f"{shortened(wanted)}, which the tests of its per-prompt rows give, got "
                        f"{shortened(got)}. {_REMEDY}"
                    )
    return blocks
