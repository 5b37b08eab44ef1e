"""Means over resampled prompts, the same prompts for every model and measure.

The first row of what is resampled is the data itself. A statistic is computed of every row; the
first gives its value, the others its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tofu_eval.analysis.pareto import Floats

_CELLS = 2**22
"""Numbers drawn at once: what keeps the memory of a large task small."""

DEFINED = 0.95
"""Share of the resamples that must have a value; below it there is no interval."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """A number with its 95% percentile interval over prompts; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def resampled_means(
    values: Floats,
    rng: np.random.Generator,
    resamples: int,
    clusters: Sequence[str] | None = None,
) -> Floats:
    """Means over the last axis, of the data and of resamples of it.

    Args:
        values: (..., prompts), no NaN, at least one prompt.
        rng: draws the prompts; all that stands before the last axis shares them.
        resamples: how often.
        clusters: the cluster of each prompt, where whole clusters are drawn.
    Returns: (1 + resamples, ...), the data first; with one prompt (or cluster) the others are NaN,
        since one tells nothing of others.
    """
    *shape, prompts = values.shape
    flat = values.reshape(-1, prompts).T
    means = np.full((1 + resamples, flat.shape[1]), np.nan)
    means[0] = flat.mean(axis=0)
    sizes = np.ones(prompts)
    if clusters is not None:
        names = sorted(set(clusters))
        belongs = np.array([[name == own for own in clusters] for name in names], dtype=np.float64)
        flat, sizes = belongs @ flat, belongs.sum(axis=1)
    units = len(sizes)
    chunk = max(1, _CELLS // units)
    for start in range(1, 1 + resamples if units > 1 else 1, chunk):
        count = min(chunk, 1 + resamples - start)
        drawn = rng.multinomial(units, np.full(units, 1 / units), size=count)
        means[start : start + count] = drawn @ flat / (drawn @ sizes)[:, None]
    return means.reshape(1 + resamples, *shape)


def estimated(column: Floats) -> Estimated:
    """A statistic of every row as a number with its interval.

    Args:
        column: (1 + resamples,); NaN where the statistic is not defined.
    """
    value, drawn = float(column[0]), column[1:]
    known = drawn[~np.isnan(drawn)]
    if np.isnan(value):
        return Estimated(None, None, None)
    if not len(known) or len(known) < DEFINED * len(drawn):
        return Estimated(value, None, None)
    low, high = np.quantile(known, (0.025, 0.975)).tolist()
    return Estimated(value, min(low, value), max(high, value))
