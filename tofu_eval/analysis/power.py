"""How many prompts settle a question: power of the paired comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.sign_flips import EXACT, least_p_value
from tofu_eval.core.errors import ConfigError

MOST = 1_000_000
"""Prompts beyond which nobody goes."""

FEW = 20
"""Prompts below which the sign-flip test and the t-test are not the same."""
_STUDIES = 1000
"""Simulated studies of few prompts."""
_FLIPS = 4096
_HOPELESS = 1e6
_EFFECTS = np.linspace(0.0, 6.0, 61)
"""True standardised differences at which they are simulated."""


@dataclass(frozen=True, slots=True)
class Noise:
    """`variance` of a prompt's score over other draws of as many `samples`, mean over prompts."""

    variance: float
    samples: float


def power(n: int, effect: float, *, alpha: float = 0.05, kurtosis: float = 0.0) -> float:
    """Probability that a two-sided paired test over n prompts sees a true effect.

    Formula: P(|T| > t(n−1)) of the noncentral t with λ = d_z √n, moved and widened by what the
        tails of the differences do to a standard error that is estimated: mean
        λ (1 + 3 k / 8 n), variance 1 + λ² (k + 2) / 4 n where that of k = 0 has k = 0.
    Args:
        n: prompts, at least 2.
        effect: true standardised mean difference d_z, any sign.
        alpha: the level of the test, in (0, 1).
        kurtosis: excess kurtosis k of the differences, at least -2.
    Returns: a probability; alpha where the effect is 0. The sign-flip test shares it;
        benchmarks/intervals.py measures how nearly. Below FEW prompts it is that of the exact test
        itself, by simulated normal differences: 0 where no result could be so clear.
    Raises:
        ConfigError: n or alpha out of range.
    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, section 2.3.
    """
    from scipy.special import stdtrit

    if n < 2 or not 0 < alpha < 1:
        raise ConfigError(f"Power needs n >= 2 and alpha in (0, 1), got n={n}, alpha={alpha}.")
    if n < FEW:
        return _power_of_few(n, abs(effect), alpha)
    away = abs(effect) * np.sqrt(n)
    if away > 30:  # beyond what the noncentral t can be computed for, and certain
        return 1.0
    bound = stdtrit(n - 1, 1 - alpha / 2)
    kurtosis = min(kurtosis, n / 4)  # beyond, an expansion in k / n says nothing
    mean = away * (1 + 3 * kurtosis / 8 / n)
    width = np.sqrt((1 + effect**2 * (kurtosis + 2) / 4) / (1 + effect**2 / 2))
    ends = [away + (end - mean) / width for end in (-bound, bound)]
    return 1 - _below(ends[1], n - 1, away) + _below(ends[0], n - 1, away)


def _power_of_few(n: int, effect: float, alpha: float) -> float:
    """That of the sign-flip test itself, read between simulated effects."""
    if least_p_value(n) >= alpha:
        return 0.0
    if effect >= _EFFECTS[-1]:
        return 1.0
    seen = (_simulate_p_values(n) < alpha).mean(axis=1)
    return float(np.interp(effect, _EFFECTS, np.maximum.accumulate(seen)))


@cache
def _simulate_p_values(n: int) -> NDArray[np.float64]:
    """P-values of studies of n normal differences at each of _EFFECTS, (effects, studies)."""
    rng = np.random.default_rng(n)
    drawn = rng.standard_normal((n, _STUDIES))
    every = n <= EXACT
    if every:
        signs = 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1) - 1
    else:
        signs = 2.0 * rng.integers(0, 2, (_FLIPS, n)) - 1
    sums, ones, own = signs @ drawn, signs.sum(axis=1)[:, None], drawn.sum(axis=0)
    found = np.empty((len(_EFFECTS), _STUDIES))
    for place, effect in enumerate(_EFFECTS):
        reach = np.abs(own + effect * n) * (1 - 1e-12)
        count = (np.abs(sums + effect * ones) >= reach).sum(axis=0)
        found[place] = count / len(signs) if every else (count + 1) / (len(signs) + 1)
    return found


def _below(end: float, df: int, away: float) -> float:
    """Distribution function of the noncentral t; scipy has NaN where it is 0 or 1 but for dust."""
    from scipy.special import nctdtr

    found = float(nctdtr(df, away, end))
    return found if np.isfinite(found) else float(end > away)


def prompts_needed(
    effect: float, *, target: float = 0.8, alpha: float = 0.05, kurtosis: float = 0.0
) -> int | None:
    """The fewest prompts at which a true effect is seen with probability `target`.

    Args:
        effect: true standardised mean difference d_z.
        target: power wanted, in (alpha, 1).
        alpha: the level of the test.
        kurtosis: excess kurtosis of the differences.
    Returns: prompts, at least 2; None where a million would not do.
    """
    return fewest(lambda n: power(n, effect, alpha=alpha, kurtosis=kurtosis) >= target)


def fewest(do: Callable[[int], bool]) -> int | None:
    """The smallest number, of 2 and more, that does it, as all above it do; None above MOST."""
    low, high = 1, 2
    while not do(high):
        low, high = high, 2 * high
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if do(middle) else (middle, high)
    return high


def detectable(
    n: int, *, target: float = 0.8, alpha: float = 0.05, kurtosis: float = 0.0
) -> float | None:
    """The smallest standardised difference that n prompts show with probability `target`.

    Args:
        n: prompts.
        target: power wanted, in (alpha, 1).
        alpha: the level of the test.
        kurtosis: excess kurtosis of the differences.
    Returns: d_z > 0; times the standard deviation of the differences it is in the metric's unit.
        None for fewer than two prompts, or so few that no difference is ever so clear.
    """
    if n < 2:
        return None
    low, high = 0.0, 1.0

    def seen(effect: float) -> bool:
        return power(n, effect, alpha=alpha, kurtosis=kurtosis) >= target

    while not seen(high):
        high *= 2
        if high > _HOPELESS:
            return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
