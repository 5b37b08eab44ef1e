"""`compare --power`: how many prompts, samples or seeds would settle each question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from tofu_eval.analysis import (
    MOST,
    Components,
    Noise,
    crossed_power,
    detectable,
    fewest,
    power,
    prompts_needed,
)
from tofu_eval.analysis.comparison import Cell, Comparison, Row, is_clear

TARGET = 0.8
"""The power that is asked for."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one difference would take, were it truly as large as it was seen to be.

    `now` is the power of the present prompts at level `alpha`; `detectable` the smallest true
    difference, in the metric's unit, that they show with TARGET. `prompts` is how many give TARGET;
    `samples` how many responses a prompt do on the present prompts, where `knows_samples`; `seeds`
    how many of each series do, where `has_seeds`. None is "no number does" (above a million, or
    something else limits), or, without `now`, that nothing can be said: fewer than two prompts, or
    all differences equal.
    """

    task: str
    metric: str
    model: str
    difference: float | None
    clear: bool
    n: int
    alpha: float
    now: float | None = None
    detectable: float | None = None
    prompts: int | None = None
    samples: int | None = None
    seeds: int | None = None
    knows_samples: bool = False
    has_seeds: bool = False


def needs(
    comparison: Comparison, noise: Mapping[tuple[str, str, str], Noise] | None = None
) -> tuple[Need, ...]:
    """What every difference of the comparison would take.

    The level is what the smallest p-value of the comparison must stay below to be clear after the
    adjustment: an upper bound for the others. Where prompts are clustered, `n` and `prompts` count
    clusters.

    Args:
        comparison: of `compare`.
        noise: by model, task and metric; where it is known of a model and of the baseline, a need
            says how many samples a prompt would do.
    """
    return tuple(
        _need(comparison, row, cell, noise or {})
        for row in comparison.rows
        for cell in row.cells
        if cell.difference is not None
    )


def _need(
    comparison: Comparison, row: Row, cell: Cell, noise: Mapping[tuple[str, str, str], Noise]
) -> Need:
    found, alpha = cell.difference, comparison.level
    value, n = (found.value, found.units) if found else (None, 0)
    need = Need(row.task, row.metric, cell.model, value, is_clear(cell), n, alpha)
    if found is None or not found.effect or not found.sd:
        return need
    if cell.spread is not None:
        return _with_seeds(need, comparison, cell.spread)
    tails = found.kurtosis
    if n < 2:
        return need
    least = detectable(n, target=TARGET, alpha=alpha, kurtosis=tails)
    need = replace(
        need,
        now=power(n, found.effect, alpha=alpha, kurtosis=tails),
        detectable=None if least is None else least * found.sd,
        prompts=prompts_needed(found.effect, target=TARGET, alpha=alpha, kurtosis=tails),
    )
    sides = [
        noise[place]
        for model in (cell.model, comparison.baseline)
        if (place := (model, row.task, row.metric)) in noise
    ]
    return need if len(sides) < 2 or least is None else _with_samples(need, sides, found.sd, least)


def _with_samples(need: Need, sides: Sequence[Noise], sd: float, least: float) -> Need:
    """With the samples a prompt at which the present prompts would do."""
    drawn = min(sum(side.variance for side in sides), sd**2)
    room = (abs(need.difference or 0.0) / least) ** 2 - (sd**2 - drawn)
    have = max(side.samples for side in sides)
    return replace(need, samples=_times(have, drawn, room), knows_samples=True)


def _with_seeds(need: Need, comparison: Comparison, spread: Components) -> Need:
    """Of prompts crossed with seeds; where both sides have seeds, the fewer of them count."""
    sides = [comparison.seeds.get(name, ()) for name in (need.model, comparison.baseline)]
    present = min(len(side) for side in sides if len(side) > 1)
    value = need.difference or 0.0

    def seen(prompts: int, seeds: int, effect: float = value) -> float:
        parts = spread.scaled(prompts / need.n, seeds / present)
        return crossed_power(parts, effect, prompts=prompts, seeds=seeds, alpha=need.alpha)

    low, high = 0.0, (spread.prompts + spread.seeds + spread.rest) ** 0.5
    if high == 0:
        return need
    while seen(need.n, present, high) < TARGET:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if seen(need.n, present, middle) < TARGET else (low, middle)
    return replace(
        need,
        now=seen(need.n, present),
        detectable=high,
        prompts=fewest(lambda count: seen(count, present) >= TARGET),
        seeds=fewest(lambda count: seen(need.n, count) >= TARGET),
        has_seeds=True,
    )


def _times(have: float, shrinks: float, room: float) -> int | None:
    """How many it takes for a variance that shrinks with their number to fit."""
    if room <= 0 or have * shrinks / room > MOST:
        return None
    return max(2, ceil(have * shrinks / room))
