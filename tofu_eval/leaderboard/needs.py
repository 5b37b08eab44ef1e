"""`compare --power`: how many prompts, samples or seeds would settle each question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from tofu_eval.leaderboard.compare import Cell, Comparison
from tofu_eval.leaderboard.numbers import ALPHA, estimate_text, is_clear
from tofu_eval.stats import (
    MOST,
    Components,
    Difference,
    Noise,
    crossed_power,
    detectable,
    fewest,
    power,
    prompts_needed,
)

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
    now: float | None
    detectable: float | None
    prompts: int | None
    seeds: int | None
    has_seeds: bool
    alpha: float
    samples: int | None = None
    knows_samples: bool = False


def needs(
    comparison: Comparison, noise: Mapping[tuple[str, str, str], Noise] | None = None
) -> tuple[Need, ...]:
    """What every difference of the comparison would take.

    The level is 0.05 divided by the number of differences compared, which is what the smallest
    p-value must stay below to be clear after Holm's adjustment: an upper bound for the others.

    Args:
        comparison: of `compare`.
        noise: by model, task and metric; where it is known of a model and of the baseline, a need
            says how many samples a prompt would do.
    """
    alpha = ALPHA / max(1, comparison.tests)
    return tuple(
        _with_samples(
            _need(comparison, row.task, row.metric, cell, alpha), cell, comparison, noise or {}
        )
        for row in comparison.rows
        for cell in row.cells
        if cell.difference is not None
    )


def _need(comparison: Comparison, task: str, metric: str, cell: Cell, alpha: float) -> Need:
    found = cell.difference
    nothing = (None, None, None, None, False, alpha)
    if found is None or not found.effect or not found.sd or found.value is None:
        value = found.value if found else None
        return Need(
            task, metric, cell.model, value, is_clear(cell), found.n if found else 0, *nothing
        )
    place = (task, metric, cell.model, found.value, is_clear(cell), found.n)
    if cell.spread is not None:
        told = _with_seeds(comparison, cell.model, cell.spread, found, alpha)
        return Need(*place, *told)
    least = detectable(found.n, target=TARGET, alpha=alpha)
    return Need(
        *place,
        power(found.n, found.effect, alpha=alpha),
        None if least is None else least * found.sd,
        prompts_needed(found.effect, target=TARGET, alpha=alpha),
        None,
        False,
        alpha,
    )


def _with_samples(
    need: Need,
    cell: Cell,
    comparison: Comparison,
    noise: Mapping[tuple[str, str, str], Noise],
) -> Need:
    """With the samples a prompt at which the present prompts would do."""
    sides = [noise.get((m, need.task, need.metric)) for m in (need.model, comparison.baseline)]
    own, base = sides
    found, least = cell.difference, detectable(need.n, target=TARGET, alpha=need.alpha)
    if own is None or base is None or found is None or not found.sd or not least or need.has_seeds:
        return need
    drawn = min(own.variance + base.variance, found.sd**2)
    room = (abs(found.value or 0.0) / least) ** 2 - (found.sd**2 - drawn)
    samples = _times(max(own.samples, base.samples), drawn, room)
    return replace(need, samples=samples, knows_samples=True)


def _with_seeds(
    comparison: Comparison, model: str, spread: Components, found: Difference, alpha: float
) -> tuple[float, float, int | None, int | None, bool, float]:
    """Of prompts crossed with seeds; where both sides have seeds, the fewer of them count."""
    value, n = found.value or 0.0, found.n
    sides = [comparison.seeds.get(name, ()) for name in (model, comparison.baseline)]
    seeds = min(len(side) for side in sides if len(side) > 1)

    def seen(prompts: int, own: int, effect: float = value) -> float:
        parts = spread.scaled(prompts / n, own / seeds)
        return crossed_power(parts, effect, prompts=prompts, seeds=own, alpha=alpha)

    error = (spread.prompts + spread.seeds + spread.rest) ** 0.5
    low, high = 0.0, error
    while seen(n, seeds, high) < TARGET:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if seen(n, seeds, middle) < TARGET else (low, middle)
    return (
        seen(n, seeds),
        high,
        fewest(lambda count: seen(count, seeds) >= TARGET),
        fewest(lambda count: seen(n, count) >= TARGET),
        True,
        alpha,
    )


def _times(have: float, shrinks: float, room: float) -> int | None:
    """How many it takes for a variance that shrinks with their number to fit."""
    if room <= 0 or have * shrinks / room > MOST:
        return None
    return max(2, ceil(have * shrinks / room))


def needs_text(found: tuple[Need, ...]) -> str:
    """A table of the needs for a terminal, and what it says; up to 80 columns for short names."""
    with_seeds = any(need.has_seeds for need in found)
    with_samples = any(need.knows_samples for need in found)
    header = ["model", "difference", "power", "seen", "prompts"]
    header += ["samples"] * with_samples + ["seeds"] * with_seeds
    lines: dict[tuple[str, str], list[list[str]]] = {}
    for need in found:
        cells = [
            need.model,
            estimate_text(need.difference, None, None, sign="+") + "**" * need.clear or "—",
            "—" if need.now is None else f"{need.now:.2f}",
            estimate_text(need.detectable, None, None) or "—",
            _count(need.prompts, need.now is not None),
        ]
        if with_samples:
            cells.append(_count(need.samples, need.knows_samples))
        if with_seeds:
            cells.append(_count(need.seeds, need.has_seeds))
        lines.setdefault((need.task, need.metric), []).append(cells)
    every = [header, *(cells for rows in lines.values() for cells in rows)]
    widths = [max(len(cells[i]) for cells in every) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"  {'  '.join([first, *others])}".rstrip()

    out, task = [], None
    for (own, metric), rows in lines.items():
        if own != task:
            out += [*([""] if task is not None else []), own, line(header)]
            task = own
        out += [metric, *(line(cells) for cells in rows)]
    return "\n".join([*out, "", *_notes(found, with_samples, with_seeds)])


def _count(count: int | None, known: bool) -> str:
    if count is not None:
        return f"{count:,}"
    return "no number" if known else "—"


def _notes(found: tuple[Need, ...], with_samples: bool, with_seeds: bool) -> list[str]:
    alpha = found[0].alpha if found else ALPHA
    notes = [
        "power: the chance that as many prompts as now find a true difference of that size, "
        f"at p < {alpha:.2g} (0.05 over all differences, the strictest step of Holm).",
        f"seen: the smallest true difference that is found in {TARGET:.0%}; prompts: how many find "
        f"this one in {TARGET:.0%}.",
    ]
    if with_samples:
        notes.append(
            "samples: how many responses a prompt would do that with the present prompts; no "
            "number where prompts differ too much among themselves."
        )
    if with_seeds:
        notes.append(
            "seeds: how many would do that with the present prompts, as prompts are those with the "
            "present seeds; no number where the other is what limits."
        )
    notes.append("A difference just found is on average found too large: take more than that.")
    return notes
