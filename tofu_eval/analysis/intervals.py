"""The mean over prompts and its 95% interval, of one metric or of a whole table at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import DataError

Floats = NDArray[np.float64]
Values = Sequence[float | None] | Floats

LEVEL = 0.95
METHOD = "mean, 95% bootstrap-t over prompts, second order, no resampling"
_LARGEST = 1e150
_BLOCK = 15_000
"""Numbers in work at once: 120 KB, which stays in a core's cache."""
_ROUNDING = 1e-13
"""Spread relative to the mean, below which a row is looked at again for equal values."""
_SAFE = (1e-60, 1e60)
"""Standard deviations whose fourth power neither vanishes nor overflows."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over prompts with its 95% interval; None where it is not defined.

    `n` counts the values it stands on; `low` and `high` need two.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of several rows, as arrays: NaN where one is not defined."""

    value: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    method: str

    def __getitem__(self, row: int) -> Interval:
        """That of one row, None where it is not defined."""
        n = int(self.n[row])
        return Interval(
            float(self.value[row]) if n else None,
            float(self.low[row]) if n > 1 else None,
            float(self.high[row]) if n > 1 else None,
            n,
            self.method,
        )


def mean_interval(values: Values, *, level: float = LEVEL) -> Interval:
    """Mean over prompts with its bootstrap-t interval. The order of the values does not matter.

    Args:
        values: one a prompt; None and NaN are undefined and left out.
        level: what the interval is to hold.
    Returns: value None for no defined value, low and high None for fewer than two; where all are
        equal, the interval is that value.
    Raises:
        DataError: a value is infinite or above 1e150.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12 to 14.
    """
    table = numbers([values])
    return mean_intervals(np.sort(table[~np.isnan(table)])[None], level=level)[0]


def mean_intervals(table: Floats, *, level: float = LEVEL) -> Intervals:
    """Mean and bootstrap-t interval of every row of a table, without drawing resamples.

    The studentised bootstrap takes the quantiles of (mean* − mean) / se* over resamples. For a mean
    they have an expansion in the skewness and excess kurtosis of the values, which this evaluates
    to its second term: the interval that ever more resamples approach, up to an error of n^(-3/2)
    of its width. Moments take two passes over the table.

    Formula: [m − q(z) s/√n, m − q(−z) s/√n], s² = mean (x − m)², z = Φ⁻¹((1 + level)/2),
        q(z) = t √(n/(n−1)) − p(z)/√n + (p p' − z p²/2 − r)(z)/n, p(z) = g (2z² + 1)/6,
        r(z) = z (k (z² − 3)/12 − g² (z⁴ + 2z² − 3)/18), g skewness, k excess kurtosis, and t
        Student's quantile for n − 1, which sums the expansion's terms without g and k.
    Args:
        table: (rows, prompts), a row a metric; NaN is undefined.
        level: what the intervals are to hold.
    Returns: one a row, as `mean_interval` by index. What is in other rows, and where NaNs stand,
        changes no digit.
    Raises:
        DataError: a value is infinite or above 1e150.
    Source: Hall, The Bootstrap and Edgeworth Expansion, 1992, sections 2.6 and 3.5.
    """
    table = np.ascontiguousarray(table, dtype=np.float64)
    rows, prompts = table.shape
    counts = np.full(rows, prompts)
    if prompts == 0:
        nothing = np.full(rows, np.nan)
        return Intervals(nothing, nothing, nothing, counts, METHOD)
    means, lows, highs = _bootstrap_t(table, level)
    for row in np.flatnonzero(~np.isfinite(lows + highs)):
        means[row], lows[row], highs[row], counts[row] = _alone(table[row], level)
    return Intervals(means, lows, highs, counts, METHOD)


def within(interval: Interval, range: tuple[str, str] | None) -> Interval:
    """The interval cut to what the metric can be: "0", "100", or a name such as "n" for no end."""
    if range is None or interval.value is None or interval.low is None or interval.high is None:
        return interval
    least, most = (_number(end) for end in range)
    low = interval.low if least is None else max(interval.low, least)
    high = interval.high if most is None else min(interval.high, most)
    # A value may be a few bits out of its range; the interval holds it all the same.
    return replace(interval, low=min(low, interval.value), high=max(high, interval.value))


def method_of(interval: Interval, *, level: str, bias: str) -> str:
    """How a number of a metric was made: its interval, and what is done about a bias.

    Args:
        interval: of its scores, or of the blocks of a corpus.
        level: "group" or "corpus", of the metric.
        bias: the metric's own words; empty for none.
    """
    made = interval.method
    if level == "corpus":
        made = "one value of the whole corpus, no interval"
        if interval.n > 1:
            made = f"value of the whole corpus, 95% jackknife over {interval.n} blocks of prompts"
    return f"{made}; {bias}" if bias else made


def numbers(rows: Sequence[Values]) -> Floats:
    """Rows of equal length as floats, NaN where undefined.

    Raises:
        DataError: a value is infinite or above 1e150.
    """
    table = np.array(rows, dtype=np.float64)
    largest = np.abs(table[~np.isnan(table)]).max(initial=0)
    if largest > _LARGEST:
        raise DataError(
            f"A score is too large to average: expected at most {_LARGEST:g}, got {largest:g}. "
            "Correct the metric that made it; None is what says 'undefined'."
        )
    return table


def _bootstrap_t(table: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Means and ends of rows without a gap; NaN ends where a row needs a second look."""
    rows, n = table.shape
    means = table.mean(axis=1)
    second, third, fourth = np.empty((3, rows))
    with np.errstate(all="ignore"):
        # A few rows at a time stay in the cache; a dot product a row, so that what other rows
        # hold changes no bit of it.
        step = max(1, _BLOCK // n)
        for start in range(0, rows, step):
            some = slice(start, start + step)
            away = table[some] - means[some, None]
            squares = away * away
            second[some] = np.vecdot(away, away)
            third[some] = np.vecdot(squares, away)
            fourth[some] = np.vecdot(squares, squares)
        second /= n
        spread = np.sqrt(second)
        doubtful = (spread < _SAFE[0]) | (spread > _SAFE[1]) | (spread <= _ROUNDING * abs(means))
        spread[doubtful] = np.nan
        low, high = _quantiles(
            n, third / (n * spread * second), fourth / (n * second**2) - 3, level
        )
        scale = spread / np.sqrt(n)
        return means, means - high * scale, means - low * scale


def _quantiles(n: int, skewness: Floats, kurtosis: Floats, level: float) -> tuple[Floats, Floats]:
    """Those of the studentised mean at both ends of the level."""
    if n < 2:
        return np.full_like(skewness, np.nan), np.full_like(skewness, np.nan)
    z, student = _normal(level), _student(n, level)
    first = skewness * ((2 * z**2 + 1) / 6 / np.sqrt(n))
    # p p' − z p²/2 + g² z (z⁴ + 2z² − 3)/18 are all multiples of g²; the rest is that of k.
    squared = (2 * z**2 + 1) * z / 9 - z * (2 * z**2 + 1) ** 2 / 72
    squared += z * (z**4 + 2 * z**2 - 3) / 18
    second = skewness * skewness * (squared / n) - kurtosis * (z * (z**2 - 3) / 12 / n)
    return -student - first - second, student - first + second


@cache
def _normal(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


@cache
def _student(n: int, level: float) -> float:
    """Student's upper quantile for n − 1, of a mean over a deviation that divides by n."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + level) / 2) * np.sqrt(n / (n - 1)))


def _alone(row: Floats, level: float) -> tuple[float, float, float, int]:
    """One row with gaps, equal values or extreme ones: mean, ends and how many values."""
    numbers([row])  # refuses what is infinite
    column = row[~np.isnan(row)]
    n = len(column)
    if n == 0:
        return np.nan, np.nan, np.nan, 0
    least, most = float(column.min()), float(column.max())
    if least == most:  # a sum would round
        return least, least, least, n
    # As it is; else, where fourth powers are not finite, brought to [0, 1].
    for shift, scale in ((0.0, 1.0), (least, most - least)):
        found = _bootstrap_t(((column - shift) / scale)[None], level)
        mean, low, high = (shift + float(end[0]) * scale for end in found)
        if np.isfinite(low + high):
            break
    return mean, low, high, n


def _number(end: str) -> float | None:
    try:
        return float(end)
    except ValueError:
        return None


BLOCKS = 20
"""Blocks of prompts that are left out, one after the other."""


def pseudo_values(whole: float, without: Sequence[float]) -> list[float]:
    """One number a block whose mean is `whole` and whose spread is the jackknife's.

    Formula: v_g = θ + (G − 1) (mean of θ_(·) − θ_(g)); sd(v) / √G is the grouped jackknife's
        standard error of θ. Blocks of the same prompts pair two models.
    Args:
        whole: the value of all prompts, θ.
        without: the value without block g, θ_(g), G of them.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 11.3 and 11.5.
    """
    from math import fsum

    count = len(without)
    centre = fsum(without) / count
    return [whole + (count - 1) * (centre - value) for value in without]
