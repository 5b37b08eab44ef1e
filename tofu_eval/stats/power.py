"""How many prompts settle a question: power of the paired comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tofu_eval.errors import ConfigError

MOST = 1_000_000
"""Prompts beyond which nobody goes."""


@dataclass(frozen=True, slots=True)
class Noise:
    """`variance` of a prompt's score over other draws of as many `samples`, mean over prompts."""

    variance: float
    samples: float


def power(n: int, effect: float, *, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired test over n prompts sees a true effect.

    It is that of the t-test, whose power the sign-flip test shares but for terms that vanish
    with n; benchmarks/statistics.py measures how far they are apart.

    Args:
        n: prompts, at least 2.
        effect: true standardised mean difference d_z, any sign.
        alpha: the level of the test, in (0, 1).
    Returns: a probability; alpha where the effect is 0.
    Raises:
        ConfigError: n or alpha out of range.
    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, section 2.3.
    """
    from scipy.special import nctdtr, stdtrit

    if n < 2 or not 0 < alpha < 1:
        raise ConfigError(f"Power needs n >= 2 and alpha in (0, 1), got n={n}, alpha={alpha}.")
    away = abs(effect) * np.sqrt(n)
    if away > 30:  # beyond what the noncentral t can be computed for, and certain
        return 1.0
    bound = stdtrit(n - 1, 1 - alpha / 2)
    return float(1 - nctdtr(n - 1, away, bound) + nctdtr(n - 1, away, -bound))


def prompts_needed(effect: float, *, target: float = 0.8, alpha: float = 0.05) -> int | None:
    """The fewest prompts at which a true effect is seen with probability `target`.

    Args:
        effect: true standardised mean difference d_z.
        target: power wanted, in (alpha, 1).
        alpha: the level of the test.
    Returns: prompts, at least 2; None where a million would not do.
    """
    return fewest(lambda n: power(n, effect, alpha=alpha) >= target)


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


def detectable(n: int, *, target: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest standardised difference that n prompts show with probability `target`.

    Args:
        n: prompts.
        target: power wanted, in (alpha, 1).
        alpha: the level of the test.
    Returns: d_z > 0; times the standard deviation of the differences it is in the metric's unit.
        None for fewer than two prompts.
    """
    if n < 2:
        return None
    low, high = 0.0, 1.0
    while power(n, high, alpha=alpha) < target:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if power(n, middle, alpha=alpha) < target else (low, middle)
    return high
