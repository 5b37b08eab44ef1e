"""Is one series more diverse than another at equal quality, or is it only hotter?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np

from tofu_eval.analysis.bootstrap import DEFINED, Estimated, estimated
from tofu_eval.analysis.comparison import ALPHA
from tofu_eval.analysis.pareto import Floats, efficient, hypervolume, reached

QUALITIES = 101
"""Evenly spaced qualities at which two frontiers are read to average their distance."""

FEWEST = 6
"""Prompts, or clusters of them, below which no verdict is given: as the exact test of `compare`, of
which no result of five can be clear."""

ROWS = 512
"""Resamples that are looked at together."""

Verdict = Literal["more", "less", "unclear", "missing"]


@dataclass(frozen=True, slots=True)
class Member:
    """A model, the series that it belongs to, its seed and its temperature."""

    model: str
    series: str
    seed: int | None
    temperature: float | None


@dataclass(frozen=True, slots=True)
class At:
    """A series at one of its temperatures, beside the other's frontier at the same quality.

    Means over the seeds. `temperature` None is unknown. `other_temperature` is the one at which
    the other reaches that quality, read between its temperatures, or where it is most diverse, if
    that is at a better quality, `other_quality`. Both are None where it was sampled at no such
    quality, and `difference` is then undefined too; unknown temperatures are None.
    """

    temperature: float | None
    quality: float
    difference: Estimated
    other_quality: float | None
    other_temperature: float | None


@dataclass(frozen=True, slots=True)
class Contest:
    """Diversity of a series minus that of another at equal quality, whatever the temperatures.

    `difference` is the distance between their frontiers, averaged over `qualities`, the range of
    quality at which both were sampled; a mean over seeds, with its interval over prompts.
    `by_seed` has a value a seed, None where the ranges do not meet; `seeds_low` and `seeds_high`
    are the 95% t-interval of their mean, None for fewer than two seeds. `hypervolume` is the
    difference of their areas.

    `temperatures` are those at which both were sampled and compared: a denser grid reaches more of
    the same curve. `wanted` are others, at which one of them is missing; where fewer than two are
    shared and some are missing, there is no verdict before they are sampled. `prompts` counts what
    the interval stands on.

    `verdict` is "more" or "less" where `p_adjusted`, the p-value over prompts adjusted over all
    contests of the frontier, is below 0.05 and with two seeds or more the interval over seeds
    excludes 0 too; "missing" where there is nothing to compare at equal quality. `equivalent` says
    whether the 90% interval over prompts, and with two seeds or more the interval over seeds, lie
    within `margin` on both sides.
    """

    series: str
    other: str
    qualities: tuple[float, float] | None
    difference: Estimated
    by_seed: tuple[float | None, ...]
    seeds_low: float | None
    seeds_high: float | None
    hypervolume: Estimated
    at: tuple[At, ...]
    verdict: Verdict
    temperatures: tuple[float | None, ...] = ()
    wanted: tuple[float, ...] = ()
    prompts: int = 0
    p_adjusted: float | None = None
    margin: float | None = None
    equivalent: bool = False


def seeds_of(members: Sequence[Member], *series: str) -> list[int | None]:
    """The seeds that all of these series have; one without a seed stands beside every seed."""
    every: list[int | None] = [*sorted({m.seed for m in members if m.seed is not None})]
    return [seed for seed in every or [None] if all(places(members, name, seed) for name in series)]


def places(members: Sequence[Member], series: str, seed: int | None) -> list[int]:
    """Where the models of a series and seed stand among the members."""
    return [
        i
        for i, member in enumerate(members)
        if member.series == series and member.seed in (None, seed)
    ]


def contest(
    series: str,
    other: str,
    members: Sequence[Member],
    means: Floats,
    reference: tuple[float, float],
    prompts: int,
) -> tuple[Contest, Floats]:
    """Put one series beside the frontier of another, at the temperatures that both have.

    Args:
        series: who is asked about.
        other: whose frontier over temperatures it is put beside.
        members: the models.
        means: (1 + resamples, models, 2): quality and diversity, the data first.
        reference: of the hypervolume.
        prompts: that the means are of.
    Returns: the contest, its verdict still open; and the difference in each row of `means`.
    """
    seeds = seeds_of(members, series, other)
    shared, wanted = _grids(members, series, other)
    pairs = [
        (_sampled(members, series, seed, shared), _sampled(members, other, seed, shared))
        for seed in seeds
    ]
    apart = [_apart(means[:, us], means[:, them]) for us, them in pairs]
    ranges = [_range(means[0, us, 0], means[0, them, 0]) for us, them in pairs]
    areas = [
        hypervolume(means[:, us, 0], means[:, us, 1], reference)
        - hypervolume(means[:, them, 0], means[:, them, 1], reference)
        for us, them in pairs
    ]
    column = np.mean(apart, axis=0) if apart else np.full(len(means), np.nan)
    difference = estimated(column)
    by_seed = tuple(None if np.isnan(column[0]) else float(column[0]) for column in apart)
    low, high = _t_interval(by_seed)
    found = Contest(
        series,
        other,
        None if difference.value is None else _mean_range(ranges),
        difference,
        by_seed,
        low,
        high,
        _over_seeds(areas, len(means)),
        _by_temperature(series, members, means, pairs),
        "missing" if difference.value is None else "unclear",
        shared,
        wanted,
        prompts,
    )
    return found, column


def decide(
    contests: Sequence[tuple[Contest, Floats]], *, margin: float | None = None
) -> tuple[Contest, ...]:
    """The contests with their verdicts, adjusted together; `margin` is that of equivalence.

    Formula: max-T over the same resamples of prompts: p of a contest is how often the largest
    |x* − x| / se of all contests reaches its |x| / se, brought from the normal to Student's scale
    of n − 1, as few prompts say little of se. A contest without enough resamples has no p-value,
    one whose grids do not meet none either.
    """
    tested = [i for i, (found, column) in enumerate(contests) if _is_testable(found, column)]
    made = [found for found, _ in contests]
    if not tested:
        return tuple(made)
    table = np.stack([contests[i][1] for i in tested])
    drawn = table[:, 1:]
    centred = np.where(np.isnan(drawn), 0.0, drawn - table[:, :1])
    error = centred.std(axis=1)
    error[error == 0] = np.finfo(np.float64).tiny
    greatest = np.abs(centred / error[:, None]).max(axis=0)
    for i, value, own in zip(tested, table[:, 0], error, strict=True):
        found = made[i]
        z = _deviate_of(abs(float(value)) / float(own), found.prompts)
        p = (float((greatest >= z).sum()) + 1) / (len(greatest) + 1)
        made[i] = replace(found, p_adjusted=p, verdict=_verdict(found, p))
        if margin is not None:
            near = _lies_within(found, float(value), float(own), margin)
            made[i] = replace(made[i], margin=margin, equivalent=near)
    return tuple(made)


def _lies_within(found: Contest, value: float, error: float, margin: float) -> bool:
    """Two one-sided tests at 5%, of the prompts, and that the interval over seeds lies within."""
    from scipy.special import stdtrit

    if found.prompts < FEWEST:
        return False
    scale = sqrt(found.prompts / (found.prompts - 1))
    reach = float(stdtrit(found.prompts - 1, 0.95)) * error * scale
    ends = [value - reach, value + reach]
    ends += [end for end in (found.seeds_low, found.seeds_high) if end is not None]
    return max(map(abs, ends)) < margin


def _is_testable(found: Contest, column: Floats) -> bool:
    defined = np.mean(~np.isnan(column[1:])) if len(column) > 1 else 0.0
    met = not set(found.wanted) & set(found.temperatures)
    enough = found.prompts >= FEWEST
    return found.difference.value is not None and bool(defined >= DEFINED) and met and enough


def _deviate_of(t: float, prompts: int) -> float:
    """The normal deviate whose tail is Student's beyond t, of so many prompts.

    The bootstrap's standard error divides by n, Student's by n − 1.
    """
    from scipy.special import ndtri, stdtr

    if prompts < 2:
        return 0.0
    tail = float(stdtr(prompts - 1, -t * sqrt((prompts - 1) / prompts)))
    return float(-ndtri(max(tail, 1e-300)))


def _grids(
    members: Sequence[Member], series: str, other: str
) -> tuple[tuple[float | None, ...], tuple[float, ...]]:
    """The temperatures at which to compare, and those at which one of them is missing.

    Those that both have, where there are two; else all, which shows something and decides nothing.
    """
    ours, theirs = (
        {m.temperature for m in members if m.series == name} for name in (series, other)
    )
    shared, lacking = ours & theirs, ours ^ theirs
    order = sorted(
        ours | theirs if lacking and len(shared) < 2 else shared,
        key=lambda t: (t is None, t or 0.0),
    )
    return tuple(order), tuple(sorted(t for t in lacking if t is not None))


def _sampled(
    members: Sequence[Member],
    series: str,
    seed: int | None,
    temperatures: tuple[float | None, ...],
) -> list[int]:
    """Where the models of a series and seed at these temperatures stand."""
    return [i for i in places(members, series, seed) if members[i].temperature in temperatures]


def _apart(us: Floats, them: Floats) -> Floats:
    """Mean distance of two frontiers in each row, (rows,); both are (rows, points, 2)."""
    found = []
    for start in range(0, len(us), ROWS):  # what keeps the memory of many temperatures small
        one, other = us[start : start + ROWS], them[start : start + ROWS]
        low, high = _range(one[..., 0], other[..., 0])
        at = np.linspace(low, np.where(low <= high, high, np.nan), QUALITIES, axis=-1)
        apart = reached(one[..., 0], one[..., 1], at) - reached(other[..., 0], other[..., 1], at)
        found.append(np.trapezoid(apart, axis=-1) / (QUALITIES - 1))
    return np.concatenate(found)


def _range(us: Floats, them: Floats) -> tuple[Floats, Floats]:
    """The qualities that both span, over the last axis; empty where low > high."""
    low: Floats = np.maximum(us.min(-1), them.min(-1))
    high: Floats = np.minimum(us.max(-1), them.max(-1))
    return low, high


def _mean_range(ranges: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    low, high = np.mean(ranges, axis=0).tolist()
    return low, high


def _over_seeds(columns: Sequence[Floats], rows: int) -> Estimated:
    """The mean over seeds, row by row; undefined where it is in any seed."""
    return estimated(np.mean(columns, axis=0) if columns else np.full(rows, np.nan))


def _by_temperature(
    series: str,
    members: Sequence[Member],
    means: Floats,
    pairs: Sequence[tuple[list[int], list[int]]],
) -> tuple[At, ...]:
    """Each temperature of the series beside the other's frontier."""
    own = [m.temperature for m in members if m.series == series]
    found = []
    for temperature in dict.fromkeys(own):
        asked = [
            (i, them) for us, them in pairs for i in us if members[i].temperature == temperature
        ]
        if asked:
            columns = [_beside(means[:, i], means[:, them]) for i, them in asked]
            matching = [_matching(means[0, i, 0], members, means[0], them) for i, them in asked]
            found.append(
                At(
                    temperature,
                    float(np.mean([means[0, i, 0] for i, _ in asked])),
                    _over_seeds(columns, len(means)),
                    _mean([quality for quality, _ in matching]),
                    _mean([other for _, other in matching]),
                )
            )
    return tuple(sorted(found, key=lambda at: (at.temperature is None, at.temperature or 0.0)))


def _beside(us: Floats, them: Floats) -> Floats:
    """A point's diversity minus a frontier's at its quality, (rows,)."""
    apart: Floats = us[:, 1] - reached(them[..., 0], them[..., 1], us[:, :1])[:, 0]
    return apart


def _matching(
    quality: float, members: Sequence[Member], means: Floats, where: Sequence[int]
) -> tuple[float | None, float | None]:
    """The quality, this or a better one, and the temperature at which a frontier is read."""
    points = means[where]
    if np.isnan(reached(points[:, 0], points[:, 1], np.array([quality]))[0]):
        return None, None
    kept = efficient(points[:, 0], points[:, 1])
    x = points[kept, 0]
    read = max(quality, float(x.min()))
    temperatures = [members[i].temperature for i, on in zip(where, kept, strict=True) if on]
    if None in temperatures:
        return read, None
    order = np.argsort(x, kind="stable")
    known = np.array(temperatures, dtype=np.float64)
    return read, float(np.interp(read, x[order], known[order]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _t_interval(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """The 95% t-interval of the mean over seeds."""
    from scipy.special import stdtrit

    known = np.array([value for value in values if value is not None])
    if len(known) < len(values) or len(known) < 2:
        return None, None
    mean = float(known.mean())
    half = float(stdtrit(len(known) - 1, 0.975) * known.std(ddof=1) / sqrt(len(known)))
    return mean - half, mean + half


def _verdict(found: Contest, p_adjusted: float) -> Verdict:
    value = found.difference.value or 0.0
    over_seeds = Estimated(value, found.seeds_low, found.seeds_high)
    sign = 1 if value > 0 else -1
    if p_adjusted >= ALPHA or (found.seeds_low is not None and over_seeds.sign != sign):
        return "unclear"
    return "more" if sign > 0 else "less"
