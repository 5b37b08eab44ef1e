"""Several seeds: prompts crossed with seeds, and which of the two a result hangs on.

A series is one method trained, or sampled, several times. Another seed would have given another
model, as another set of prompts would have given other scores, so both are levels of the design:
every seed answers every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tofu_eval.analysis.intervals import LEVEL, Floats

Part = Literal["prompts", "seeds", "rest"]


@dataclass(frozen=True, slots=True)
class Components:
    """What the variance of a mean over prompts and seeds consists of, in squared units.

    `prompts`, `seeds` and `rest` add up to the squared standard error: σ²_P / n + σ²_S / S +
    σ²_PS / (n S). More prompts shrink the first and the last, more seeds the second and the last;
    the rest is what a prompt does with a seed, the noise of sampling in it.
    """

    prompts: float
    seeds: float
    rest: float

    @property
    def dominates(self) -> Part:
        """Which is largest."""
        parts: tuple[Part, ...] = ("prompts", "seeds", "rest")
        return max(parts, key=lambda part: float(getattr(self, part)))

    def scaled(self, prompts: float, seeds: float) -> Components:
        """Those of so many times the prompts, and the seeds."""
        return Components(self.prompts / prompts, self.seeds / seeds, self.rest / prompts / seeds)

    def share(self, part: Part) -> float:
        """Of the whole, in [0, 1]; 0 where there is no variance."""
        whole = self.prompts + self.seeds + self.rest
        return float(getattr(self, part)) / whole if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Crossed:
    """A mean over prompts and seeds with its 95% interval and the p-value of its being 0.

    `low_90` and `high_90` are the ends of the 90% interval.
    """

    value: float
    low: float
    high: float
    p_value: float
    components: Components
    low_90: float
    high_90: float


def crossed_mean(table: Floats) -> Crossed:
    """Mean over prompts crossed with seeds.

    Formula: half width h, h² = t²(n−1) V_P + t²(S−1) V_S, V_P = (MS_P − MS_PS) / (n S) >= 0,
        V_S = MS_S / (n S), of the mean squares of a two-way layout with one value a cell. With
        Student's quantile of each its own h errs on the wide side however few the seeds are; of
        one for both (Satterthwaite) it covers down to 85%.
    Args:
        table: (S, n) values, S seeds >= 2, n prompts >= 2, all defined.
    Source: Banerjee, Sankhyā 22, 1960; Searle, Casella and McCulloch, Variance Components, 1992,
        sections 4.3 and 5.2.
    """
    return _crossed(table.mean(axis=0), [table])


def crossed_difference(a: Floats, b: Floats) -> Crossed:
    """Mean of a − b over the same prompts, each side with seeds of its own.

    Seeds of different methods are different trainings even where their numbers agree, so the two
    sides' seed variances add. A side of one seed adds none: its interval then says what other
    prompts and other seeds of the other side would give, not what another seed of this one would.

    Args:
        a: (S, n) values, all defined, n >= 2 prompts.
        b: (S', n) values on the same prompts. S or S' is at least 2.
    Returns: as `crossed_mean`.
    """
    return _crossed(a.mean(axis=0) - b.mean(axis=0), [side for side in (a, b) if len(side) > 1])


def crossed_power(
    parts: Components, effect: float, *, prompts: int, seeds: int, alpha: float
) -> float:
    """Probability that a true difference is seen over prompts crossed with seeds.

    Args:
        parts: what the variance of such a design consists of.
        effect: the true difference, in the metric's unit.
        prompts: n >= 2.
        seeds: S >= 2.
        alpha: the level of the test.
    Returns: P(|N(effect, V)| > h), h the half width at `alpha`, whose part of the seeds varies as
        χ²(S−1) / (S−1) does; by 200 quantiles of that. Of prompts h varies too little to matter.
    """
    from scipy.special import chdtri, ndtr, stdtrit

    error = np.sqrt(parts.prompts + parts.seeds + parts.rest)
    if error == 0:
        return 1.0 if effect else alpha
    drawn = chdtri(seeds - 1, 1 - (np.arange(200) + 0.5) / 200) / (seeds - 1)
    t = [stdtrit(count - 1, 1 - alpha / 2) for count in (prompts, seeds)]
    reach = np.sqrt(t[0] ** 2 * parts.prompts + t[1] ** 2 * (parts.seeds + parts.rest) * drawn)
    seen = ndtr((abs(effect) - reach) / error) + ndtr((-abs(effect) - reach) / error)
    return float(seen.mean())


def _crossed(means: Floats, sides: list[Floats]) -> Crossed:
    """`means` are by prompt, over seeds; the spread between seeds is that of `sides`."""
    n = len(means)
    value = float(means.mean())
    between, of_seeds, rest = [], 0.0, 0.0
    for side in sides:
        seeds = len(side)
        error = float(side.mean(axis=1).var(ddof=1)) / seeds
        inside = side - side.mean(axis=0) - side.mean(axis=1)[:, None] + side.mean()
        noise = float((inside**2).sum()) / ((n - 1) * (seeds - 1)) / (n * seeds)
        between.append((error, seeds - 1))
        of_seeds += max(0.0, error - noise)
        rest += noise
    of_prompts = max(0.0, float(means.var(ddof=1)) / n - rest)
    parts = [(of_prompts, n - 1), *between]
    reach, reach_90 = (_half_width(1 - level, parts) for level in (LEVEL, 0.9))
    return Crossed(
        value,
        value - reach,
        value + reach,
        _p_value(abs(value), parts),
        Components(of_prompts, of_seeds, rest),
        value - reach_90,
        value + reach_90,
    )


def _half_width(alpha: float, parts: Sequence[tuple[float, int]]) -> float:
    """Of the interval that holds 1 − alpha, from variances and their degrees of freedom."""
    from scipy.special import stdtrit

    return float(np.sqrt(sum(stdtrit(df, 1 - alpha / 2) ** 2 * part for part, df in parts)))


def _p_value(value: float, parts: Sequence[tuple[float, int]]) -> float:
    """The alpha at which the interval begins to reach 0."""
    if sum(part for part, _ in parts) == 0:
        return 1.0 if value == 0 else 0.0
    low, high = -_LEAST, 0.0  # of log10(alpha), to which the width is monotone
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_width(10.0**middle, parts) > value else (low, middle)
    return float(10.0**high)


_LEAST = 15.0
"""Digits of the smallest p-value."""
