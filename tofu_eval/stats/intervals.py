"""Uncertainty: intervals over prompts, paired differences, many comparisons at once.

Prompts are what is resampled, never responses: the prompts are the sample of the world, and all
models answer the same ones. docs/statistics.md says what the intervals hold and what they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tofu_eval.errors import DataError

Id = TypeVar("Id")

RESAMPLES = 9999
METHOD = "mean, 95% percentile bootstrap over prompts, {resamples} resamples"
_LARGEST = 1e150
_CELLS = 2**20
"""Numbers drawn at once: what keeps the memory of a large task small."""


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
class Difference:
    """The mean of a − b over the prompts where both are defined, with its 95% interval.

    `n` counts those prompts, `dropped` the others. `p_value` is that of a two-sided sign-flip
    test; `higher` is the share of the n prompts on which a lies above b (ties are not above).
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    dropped: int
    p_value: float | None
    higher: float | None


def mean_interval(
    values: Sequence[float | None] | NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """Mean over prompts with a 95% percentile bootstrap interval (`scipy.stats.bootstrap`).

    The percentile interval is defined for every set of two values or more; BCa is not when values
    are tied. The order of the values does not matter.

    Args:
        values: one a prompt; None and NaN are undefined and left out.
        seed: decides the resamples.
        resamples: how many times the prompts are drawn again.
    Returns: value None for no defined value, low and high None for fewer than two; where all are
        equal, the interval is that value.
    Raises:
        DataError: a value is infinite or above 1e150.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    return _interval(_defined(_numbers(values)), np.random.default_rng(seed), resamples)


def paired_difference(
    a: Mapping[Id, float | None],
    b: Mapping[Id, float | None],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean of a − b, paired by prompt, with its 95% interval and a sign-flip test.

    The test asks whether a and b could change places on each prompt: it flips the signs of the
    differences (`scipy.stats.permutation_test`), in all 2ⁿ ways where that is at most `resamples`
    (n ≤ 13 by default), else in as many random ways; then p is at least 2 / (resamples + 1).

    Args:
        a: value by prompt id; None and NaN are undefined.
        b: the same of the other model.
        seed: decides the resamples and the flips.
        resamples: how many of each.
    Returns: all None for no common prompt; low, high and p_value None for fewer than two.
    Raises:
        DataError: a value is infinite or above 1e150.
    Source: Fisher, The Design of Experiments, 1935, section 21.
    """
    ids = [id for id in a if id in b]
    left = _numbers([a[id] for id in ids])
    right = _numbers([b[id] for id in ids])
    differences = _defined(left - right)
    rng = np.random.default_rng(seed)
    interval = _interval(differences, rng, resamples)
    n = len(differences)
    return Difference(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=n,
        dropped=len(a.keys() | b.keys()) - n,
        p_value=_sign_flip(differences, rng, resamples) if n > 1 else None,
        higher=float(np.mean(differences > 0)) if n else None,
    )


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


def _numbers(values: Sequence[float | None] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The values as floats, NaN where undefined."""
    numbers = np.array(values, dtype=np.float64)
    largest = np.abs(numbers[~np.isnan(numbers)]).max(initial=0)
    if largest > _LARGEST:
        raise DataError(
            f"A score is too large to average: expected at most {_LARGEST:g}, got {largest:g}. "
            "Correct the metric that made it; None is what says 'undefined'."
        )
    return numbers


def _defined(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are not NaN, sorted, so that nothing depends on the order of the prompts."""
    return np.sort(numbers[~np.isnan(numbers)])


def _interval(values: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> Interval:
    method = METHOD.format(resamples=resamples)
    n = len(values)
    if n == 0:
        return Interval(None, None, None, 0, method)
    if values[0] == values[-1]:  # all are equal, and a sum would round
        only = float(values[0])
        bound = only if n > 1 else None
        return Interval(only, bound, bound, n, method)
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=_batch(n),
        vectorized=True,
        method="percentile",
        rng=rng,
    ).confidence_interval
    # Rounding alone can carry a mean beyond the values, or the mean beyond its interval.
    value, low, high = np.clip([np.mean(values), *found], values[0], values[-1]).tolist()
    return Interval(value, min(low, value), max(high, value), n, method)


def _sign_flip(values: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> float:
    from scipy.stats import permutation_test

    result = permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples,
        batch=_batch(len(values)),
        vectorized=True,
        rng=rng,
    )
    return float(result.pvalue)


def _batch(n: int) -> int:
    return max(1, _CELLS // n)
