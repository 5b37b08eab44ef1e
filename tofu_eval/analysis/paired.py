"""Differences on the same prompts: mean, interval, test, effect size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tofu_eval.analysis.clusters import spread_clusters, sum_clusters
from tofu_eval.analysis.intervals import Floats, Interval, mean_interval, numbers
from tofu_eval.analysis.seeds import Crossed
from tofu_eval.analysis.sign_flips import Column, Test, sign_flip_tests

EQUIVALENCE_LEVEL = 0.9
"""Of the interval that lies within the margins where two one-sided tests at 5% both say so."""

_ROUNDING = 1e-13
"""Relative difference of two values that are the same but for rounding."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a − b over the prompts where both are defined, with its 95% interval.

    `n` counts those prompts, `dropped` the others; `a_mean` and `b_mean` are the means of a and b
    over these n prompts, which differ by `value`. `p_value` is that of a two-sided test,
    `p_adjusted` the same adjusted over its family. `low_90` and `high_90` are the 90% interval, for
    equivalence.
    `higher` and `lower` are the shares of the n prompts on which a lies above and below b; ties
    are neither. `effect` is the standardised mean difference d_z, mean over standard deviation of
    the differences; None for fewer than two prompts or where all differences are equal. `sd` is
    that deviation, and `kurtosis` the excess kurtosis of the differences, 0 where they are equal.
    `units` counts what the interval, the test, `sd` and `kurtosis` stand on: prompts, or the
    clusters of prompts where they are known.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    dropped: int
    p_value: float | None
    higher: float | None
    effect: float | None = None
    sd: float | None = None
    kurtosis: float = 0.0
    lower: float | None = None
    p_adjusted: float | None = None
    low_90: float | None = None
    high_90: float | None = None
    a_mean: float | None = None
    b_mean: float | None = None
    units: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides to be compared: values by prompt id; None and NaN are undefined.

    Prompts of one `task` are called by their ids, those of another are others. `clusters` says to
    which cluster each prompt belongs. `crossed` is what is known of the difference where a side has
    several seeds: it replaces the interval and the test over prompts.
    """

    a: Mapping[Any, float | None]
    b: Mapping[Any, float | None]
    task: str = ""
    clusters: Mapping[Any, str] | None = None
    crossed: Crossed | None = None


def paired_difference(
    a: Mapping[Any, float | None],
    b: Mapping[Any, float | None],
    *,
    task: str = "",
    clusters: Mapping[Any, str] | None = None,
) -> Difference:
    """Mean of a − b, paired by prompt, with its 95% interval and a sign-flip test.

    Args:
        a: value by prompt id; None and NaN are undefined.
        b: the same of the other model.
        task: whose prompts they are.
        clusters: the cluster of each prompt, where they have any.
    Returns: all None for no common prompt; low, high and p_value None for fewer than two.
    Raises:
        DataError: a value is infinite or above 1e150.
    """
    return paired_differences([Pair(a, b, task, clusters)])[0][0]


def paired_differences(
    pairs: Sequence[Pair], *, alpha: float = 0.05
) -> tuple[list[Difference], float]:
    """`paired_difference` of a family of pairs, whose p-values are adjusted together.

    What else is compared changes no digit but those of `p_adjusted`.

    Args:
        pairs: the family.
        alpha: the share of false alarms that the family may have.
    Returns: the differences; and the p-value below which the first of them would be clear.
    """
    sides = [_Sides.of(pair) for pair in pairs]
    family = sign_flip_tests([side.column for side in sides], alpha=alpha)
    found = [_difference(side, test) for side, test in zip(sides, family.tests, strict=True)]
    return found, family.level


def clear_signs(pairs: Sequence[Pair], *, alpha: float = 0.05) -> list[int | None]:
    """The sign of each difference of a family that is significant, see `is_significant`; 0 of the
    others, None where there is no test.

    It makes no interval that decides nothing, which is what a family of thousands costs. A pair
    that is `crossed` has its own test, and none here.
    """
    sides = [_Sides.of(pair) for pair in pairs]
    family = sign_flip_tests([side.column for side in sides], alpha=alpha)
    signs: list[int | None] = []
    for side, test in zip(sides, family.tests, strict=True):
        if test.adjusted is None or test.adjusted >= alpha:
            signs.append(None if test.adjusted is None else 0)
            continue
        found = mean_interval(side.spread)
        is_clear = (
            found.low is not None and found.high is not None and not (found.low <= 0 <= found.high)
        )
        signs.append((1 if (found.value or 0.0) > 0 else -1) if is_clear else 0)
    return signs


@dataclass(frozen=True, slots=True)
class _Sides:
    """A pair on the prompts that both sides have, in the order of the differences."""

    pair: Pair
    ids: tuple[Any, ...]
    away: Floats
    spread: Floats
    column: Column

    @classmethod
    def of(cls, pair: Pair) -> _Sides:
        known = subtract_common(pair.a, pair.b)
        # Sorted, so that the order of the prompts changes no digit.
        known = dict(sorted(known.items(), key=lambda item: (item[1], str(item[0]))))
        sums, spread = known, known
        if pair.clusters is not None:
            sums, spread = sum_clusters(known, pair.clusters), spread_clusters(known, pair.clusters)
        statistic = None if pair.crossed is None else _deviate(pair.crossed.p_value)
        column = Column(
            np.array(list(sums.values())), [f"{pair.task}\n{unit}" for unit in sums], statistic
        )
        ends = np.sort(np.array(list(spread.values())))
        return cls(pair, tuple(known), np.array(list(known.values())), ends, column)


def excludes_zero(difference: Difference) -> bool:
    """Whether the interval lies on one side of 0."""
    if difference.low is None or difference.high is None:
        return False
    return not difference.low <= 0 <= difference.high


def is_significant(difference: Difference, *, alpha: float = 0.05) -> bool:
    """Whether a difference stands in its family: by its adjusted test and by its interval."""
    p = difference.p_adjusted
    return excludes_zero(difference) and p is not None and p < alpha


def subtract_common(
    a: Mapping[Any, float | None], b: Mapping[Any, float | None]
) -> dict[Any, float]:
    """a − b by prompt, where both are defined.

    Values that differ by no more than their rounding do not differ.

    Raises:
        DataError: a value is infinite or above 1e150.
    """
    both = [id for id in a if id in b]
    ours, theirs = numbers([[a[id] for id in both], [b[id] for id in both]])
    away = ours - theirs
    away[np.abs(away) <= _ROUNDING * np.maximum(np.abs(ours), np.abs(theirs))] = 0.0
    return {id: float(v) for id, v in zip(both, away, strict=True) if not np.isnan(v)}


def _difference(side: _Sides, test: Test) -> Difference:
    away, spread, pair = side.away, side.spread, side.pair
    n, units = len(away), len(spread)
    found, narrow = mean_interval(spread), mean_interval(spread, level=EQUIVALENCE_LEVEL)
    sd = float(np.std(spread, ddof=1)) if units > 1 else None
    a_mean, b_mean = (
        (float(np.mean([some[id] for id in side.ids])) if n else None) for some in (pair.a, pair.b)
    )
    p_value, p_adjusted = test.p_value, test.adjusted
    if pair.crossed is not None:
        crossed = pair.crossed
        found = Interval(crossed.value, crossed.low, crossed.high, n, found.method)
        narrow = Interval(crossed.value, crossed.low_90, crossed.high_90, n, found.method)
        p_value = crossed.p_value
        p_adjusted = max(p_value, p_adjusted or 0.0)
    return Difference(
        value=found.value,
        low=found.low,
        high=found.high,
        n=n,
        dropped=len(pair.a.keys() | pair.b.keys()) - n,
        p_value=p_value,
        higher=float(np.mean(away > 0)) if n else None,
        effect=found.value / sd
        if sd and found.value is not None and spread[0] != spread[-1]
        else None,
        sd=sd,
        kurtosis=_kurtosis(spread),
        lower=float(np.mean(away < 0)) if n else None,
        p_adjusted=p_adjusted,
        low_90=narrow.low,
        high_90=narrow.high,
        a_mean=a_mean,
        b_mean=b_mean,
        units=units,
    )


def _deviate(p_value: float) -> float:
    """The normal deviate whose two-sided p-value it is."""
    from scipy.special import ndtri

    return float(-ndtri(max(p_value, 1e-300) / 2))


def _kurtosis(column: Floats) -> float:
    if len(column) < 2 or column[0] == column[-1]:
        return 0.0
    away = (column - column.mean()) / (column[-1] - column[0])  # so that no power overflows
    squares = away * away
    return float(np.mean(squares * squares) / np.mean(squares) ** 2 - 3)
