"""Over tasks: mean ranks and standardised differences, never a sum of unlike units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.direction import has_direction, sign_of_direction


@dataclass(frozen=True, slots=True)
class Standing:
    """One model by one metric over the tasks.

    `rank` is the mean rank, 1 = most diverse (of quality: best), ties share their mean, over the
    `ranked` tasks on which every model that has this metric at all has a value: ranks among
    different models do not compare. `effect` is the mean standardised difference d_z to the
    baseline over the `compared` tasks that have one; its sign is the metric's own. `missing` names
    the tasks on which this model has no value. None where there is no such task.
    """

    model: str
    metric: str
    rank: float | None
    ranked: int
    effect: float | None
    compared: int
    missing: tuple[str, ...]


def standings(comparison: Comparison) -> tuple[Standing, ...]:
    """Every metric that was measured on two tasks or more, a standing a model.

    Nothing is imputed: a model without a value on a task has no rank there, and no other model
    either. Metrics without a direction are described, not ranked.
    """
    of: dict[str, list[Row]] = {}
    for row in comparison.rows:
        of.setdefault(row.metric, []).append(row)
    return tuple(
        standing
        for metric, rows in of.items()
        if len(rows) > 1 and has_direction(rows[0].direction)
        for standing in _of_metric(comparison, metric, rows)
    )


def _of_metric(comparison: Comparison, metric: str, rows: Sequence[Row]) -> list[Standing]:
    known = {cell.model for row in rows for cell in row.cells if cell.mean.value is not None}
    ranks: dict[str, list[float]] = {model: [] for model in known}
    for row in rows:
        values = {c.model: c.mean.value for c in row.cells if c.mean.value is not None}
        if values.keys() == known:
            for model, rank in _ranks(values, higher=sign_of_direction(row.direction) > 0).items():
                ranks[model].append(rank)
    found = []
    for place, model in enumerate(comparison.models):
        cells = [row.cells[place] for row in rows]
        effects = [effect for cell in cells if (effect := _effect(cell)) is not None]
        missing = [r.task for r, c in zip(rows, cells, strict=True) if c.mean.value is None]
        own = ranks.get(model, [])
        found.append(
            Standing(
                model,
                metric,
                fsum(own) / len(own) if own else None,
                len(own),
                fsum(effects) / len(effects) if effects else None,
                len(effects),
                tuple(missing),
            )
        )
    return found


def _effect(cell: Cell) -> float | None:
    return cell.difference.effect if cell.difference else None


def _ranks(values: dict[str, float], *, higher: bool) -> dict[str, float]:
    """1 = first; equal values share the mean of their places."""
    ordered = list(values.values())
    return {
        model: 1
        + sum(other > value if higher else other < value for other in ordered)
        + (sum(other == value for other in ordered) - 1) / 2
        for model, value in values.items()
    }
