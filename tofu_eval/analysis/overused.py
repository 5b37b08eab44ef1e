"""Which phrases stand in more of a model's responses than in a reference's: means over prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_PROMPTS = 6
"""With fewer prompts nothing can be told."""

LEAST_SEEN = 5
"""Prompts, the model's or the reference's, in which a phrase must stand to be looked at."""

ALPHA = 0.05


@dataclass(frozen=True)
class Usage:
    """Of each phrase that was looked at: its number, its shares, and how sure the difference is.

    `share` and `reference` are means over prompts of the share of responses that have the phrase;
    `prompts` in how many prompts the model has it; `p` is adjusted over all phrases.
    """

    phrase: NDArray[np.int64]
    share: NDArray[np.float64]
    reference: NDArray[np.float64]
    prompts: NDArray[np.int64]
    p: NDArray[np.float64]


def compare_usage(shares: Any, reference: Any, *, paired: bool) -> Usage:
    """Compare the use of each phrase that stands in enough prompts.

    Args:
        shares: sparse (prompts, phrases), the share of a prompt's responses that have a phrase.
        reference: the same of the reference; where `paired`, of the same prompts in their order.
        paired: whether the prompts are the same.

    Returns: what t-tests over prompts say (Welch's where they are not the same), two-sided, by
        Holm's adjustment. A p-value is never below that of a sign-flip test of as many prompts, so
        that no handful of prompts is proof.
    """
    seen = _count_rows(shares) + _count_rows(reference)
    phrase = np.flatnonzero(seen >= LEAST_SEEN)
    one, other = shares.tocsc()[:, phrase], reference.tocsc()[:, phrase]
    counts = one.shape[0], other.shape[0]
    means = _mean(one), _mean(other)
    if paired:
        difference = one - other
        error = np.sqrt(_variance(difference, means[0] - means[1]) / counts[0])
        freedom = np.full(len(phrase), counts[0] - 1.0)
    else:
        parts = [
            _variance(m, mean) / m.shape[0] for m, mean in zip((one, other), means, strict=True)
        ]
        error = np.sqrt(parts[0] + parts[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
            freedom = np.where(spread > 0, (parts[0] + parts[1]) ** 2 / spread, min(counts) - 1.0)
    p = _p_values(means[0] - means[1], error, freedom)
    least = 2.0 ** (1 - min(counts))
    return Usage(phrase, *means, _count_rows(one), _adjust(np.maximum(p, least)))


def _p_values(
    difference: NDArray[np.float64], error: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Importing SciPy's distributions takes a while.
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference == 0, 0.0, np.abs(difference) / error)
    p: NDArray[np.float64] = 2 * stdtr(freedom, -t)
    return p


def _adjust(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's adjustment."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def _count_rows(matrix: Any) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.asarray(matrix.astype(bool).sum(axis=0), dtype=np.int64).ravel()
    return counts


def _mean(matrix: Any) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.asarray(matrix.mean(axis=0), dtype=np.float64).ravel()
    return mean


def _variance(matrix: Any, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = matrix.shape[0]
    squares = np.asarray(matrix.multiply(matrix).sum(axis=0), dtype=np.float64).ravel()
    variance: NDArray[np.float64] = np.maximum(0.0, squares - rows * mean**2) / (rows - 1)
    variance[variance < 1e-15] = 0.0  # what rounding leaves of equal shares
    return variance
