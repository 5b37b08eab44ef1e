"""Differences on the same prompts: mean, interval, sign-flip test, effect size; Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.intervals import RESAMPLES, Floats, mean_interval, numbers

Id = TypeVar("Id")

_PROMPTS = 256
"""Prompts whose signs are in memory at once."""
_COLUMNS = 256
"""Columns whose sums are; for the next ones the same signs are drawn again."""
_TIES = 1e-6
"""What the roots weigh, beside the differences, in the sum that is tested."""
_ROUNDING = 1e-12
"""Sums that are this close, relative to the sum of absolute differences, count as equal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a − b over the prompts where both are defined, with its 95% interval.

    `n` counts those prompts, `dropped` the others; `a_mean` and `b_mean` are the means of the two
    sides over these n prompts, which differ by `value`. `p_value` is that of a two-sided test.
    `higher` and `lower` are the shares of the n prompts on which a lies above and below b; ties
    are neither. `effect` is the standardised mean difference d_z, mean over standard deviation of
    the differences; None for fewer than two prompts or where all differences are equal. `sd` is
    that deviation, and `kurtosis` the excess kurtosis of the differences, 0 where they are equal.
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
    a_mean: float | None = None
    b_mean: float | None = None


def paired_difference(
    a: Mapping[Id, float | None],
    b: Mapping[Id, float | None],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    method: str = "bootstrap-t",
) -> Difference:
    """Mean of a − b, paired by prompt, with its 95% interval and a sign-flip test.

    Args:
        a: value by prompt id; None and NaN are undefined.
        b: the same of the other model.
        seed: decides the flips, and the resamples of "bca" and "percentile".
        resamples: how many of each.
        method: of the interval, as in `mean_interval`.
    Returns: all None for no common prompt; low, high and p_value None for fewer than two.
    Raises:
        DataError: a value is infinite or above 1e150.
    """
    return paired_differences([(a, b)], seed=seed, resamples=resamples, method=method)[0]


def paired_differences(
    pairs: Sequence[tuple[Mapping[Any, float | None], Mapping[Any, float | None]]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    method: str = "bootstrap-t",
) -> list[Difference]:
    """`paired_difference` of many pairs; the flips are drawn once for all of them.

    What else is compared changes no digit.

    Args:
        pairs: values by prompt id, (a, b).
        seed: as in `paired_difference`.
        resamples: as in `paired_difference`.
        method: as in `paired_difference`.
    """
    columns, dropped, means = [], [], []
    for a, b in pairs:
        ids = [id for id in a if id in b]
        sides = numbers([[a[id] for id in ids], [b[id] for id in ids]])
        sides = sides[:, ~np.isnan(sides).any(axis=0)]
        columns.append(np.sort(np.subtract(*sides)))
        dropped.append(len(a.keys() | b.keys()) - len(columns[-1]))
        means.append(np.sort(sides).mean(axis=1).tolist() if sides.size else [None, None])
    p_values = sign_flips(columns, seed=seed, resamples=resamples)
    return [
        replace(
            _difference(column, out, p_value, mean_interval(column, method=method, seed=seed)),
            a_mean=a_mean,
            b_mean=b_mean,
        )
        for column, out, p_value, (a_mean, b_mean) in zip(
            columns, dropped, p_values, means, strict=True
        )
    ]


def _difference(column: Floats, dropped: int, p_value: float | None, found: Any) -> Difference:
    n = len(column)
    sd = float(np.std(column, ddof=1)) if n > 1 else None
    return Difference(
        value=found.value,
        low=found.low,
        high=found.high,
        n=n,
        dropped=dropped,
        p_value=p_value,
        higher=float(np.mean(column > 0)) if n else None,
        effect=found.value / sd if sd and column[0] != column[-1] else None,
        sd=sd,
        kurtosis=_kurtosis(column),
        lower=float(np.mean(column < 0)) if n else None,
    )


def _kurtosis(column: Floats) -> float:
    if len(column) < 2 or column[0] == column[-1]:
        return 0.0
    away = (column - column.mean()) / (column[-1] - column[0])  # so that no power overflows
    squares = away * away
    return float(np.mean(squares * squares) / np.mean(squares) ** 2 - 3)


def sign_flips(
    columns: Sequence[Floats], *, seed: int, resamples: int = RESAMPLES
) -> list[float | None]:
    """Two-sided p-values of the sign-flip test of each column of paired differences.

    The test asks whether the two sides could change places on each prompt: it flips the signs of
    the differences, in all 2ⁿ ways where that is at most `resamples` (n ≤ 13 by default), else in
    as many random ways, the same for all columns; then p is at least 2 / (resamples + 1).

    Args:
        columns: differences, sorted.
        seed: decides the flips.
        resamples: how many.
    Returns: p in (0, 1], as `scipy.stats.permutation_test` defines it; None for fewer than two.
        Flips whose sums tie are told apart by what the signed roots of the differences sum to.
        Without that, many tied scores make the test stricter than its level (3.5% instead of 5%
        for 30 prompts and five values); any such statistic leaves it exact.
    Source: Fisher, The Design of Experiments, 1935, section 21.
    """
    columns = [_told_apart(column) for column in columns]
    few = [i for i, c in enumerate(columns) if len(c) > 1 and 2 ** len(c) <= resamples]
    many = [i for i, c in enumerate(columns) if 2 ** len(c) > resamples]
    found: list[float | None] = [None] * len(columns)
    for i in few:
        found[i] = _p_value(columns[i], _all_sums(columns[i]), 0)
    for start in range(0, len(many), _COLUMNS):
        some = many[start : start + _COLUMNS]
        sums = _random_sums([columns[i] for i in some], seed, resamples)
        for place, i in enumerate(some):
            found[i] = _p_value(columns[i], sums[:, place], 1)
    return found


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: calling all those below α true errs at all with probability ≤ α.

    Args:
        pvalues: of one family of tests, each in [0, 1].
    Returns: in the same order, each in [p, 1].
    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return [float(value) for value in adjusted]


def _told_apart(column: Floats) -> Floats:
    """The differences, moved by so little of their signed roots that only ties are decided."""
    size = np.abs(column)
    moved: Floats = column + _TIES * np.sign(column) * np.sqrt(size * size.max(initial=0))
    return moved


def _all_sums(column: Floats) -> Floats:
    """What the differences above 0 sum to under each of the 2ⁿ flips, twice, less their sum."""
    n = len(column)
    kept = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sums: Floats = 2 * (kept @ column) - column.sum()
    return sums


def _random_sums(columns: Sequence[Floats], seed: int, resamples: int) -> Floats:
    """Sums under random flips, (resamples, columns).

    The signs of a prompt do not depend on how many prompts there are, or columns.
    """
    table = np.zeros((max(map(len, columns)), len(columns)))
    for place, column in enumerate(columns):
        table[: len(column), place] = column
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, len(columns)))
    for start in range(0, len(table), _PROMPTS):
        block = table[start : start + _PROMPTS]
        bits = rng.integers(0, 256, size=(len(block), -(-resamples // 8)), dtype=np.uint8)
        kept: NDArray[np.uint8] = np.unpackbits(bits, axis=1, count=resamples)
        sums += kept.T.astype(np.float64) @ block
    result: Floats = 2 * sums - table.sum(axis=0)
    return result


def _p_value(column: Floats, sums: Floats, extra: int) -> float:
    """Twice the smaller tail; `extra` counts the sample itself among random flips."""
    seen, close = column.sum(), _ROUNDING * np.abs(column).sum()
    tails = (np.sum(sums >= seen - close), np.sum(sums <= seen + close))
    return min(1.0, 2 * (int(min(tails)) + extra) / (len(sums) + extra))
