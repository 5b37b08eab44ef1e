"""BLEU of each of several texts against all the others, from the same counts for every flavour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.tokens import Tokens

ORDERS = 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """What BLEU is computed from: per text and order 1..n, and the lengths.

    `matches` and `totals` are (texts, n) numbers of n-grams, clipped and all; `lengths` and
    `closest` are (texts,) tokens in the text and in the other text nearest to it in length.
    """

    matches: Floats
    totals: Floats
    lengths: Floats
    closest: Floats


def leave_one_out(tokens: Tokens, orders: int = ORDERS) -> Counts:
    """The counts of each text with all the others as its references."""
    lengths = tokens.lengths
    return Counts(
        np.stack([tokens.count_clipped(n) for n in range(1, orders + 1)], axis=1).astype(
            np.float64
        ),
        np.maximum(lengths[:, None] - np.arange(orders), 0).astype(np.float64),
        lengths.astype(np.float64),
        closest_others(lengths).astype(np.float64),
    )


def closest_others(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of all other lengths the nearest to each, the shorter of two equally near ones."""
    different, place, count = np.unique(lengths, return_inverse=True, return_counts=True)
    far = np.iinfo(np.int64).max // 2
    below = np.concatenate([[-far], different[:-1]])
    above = np.concatenate([different[1:], [far]])
    nearest = np.where(different - below <= above - different, below, above)
    return np.where(count > 1, different, nearest)[place]


def brevity(counts: Counts) -> Floats:
    """exp(1 - closest / length) for a text shorter than its closest reference, else 1."""
    lengths = np.maximum(counts.lengths, 1)
    penalty = np.exp(np.minimum(0.0, 1 - counts.closest / lengths))
    return np.where(counts.lengths == 0, 0.0, penalty)


def sacrebleu(counts: Counts, *, effective_order: bool) -> Floats:
    """sacreBLEU's sentence score with exponential smoothing, 0 to 100, of each text."""
    there = counts.totals > 0
    missed = there & (counts.matches == 0)
    # The k-th order without a match counts as 1 / 2**k matches.
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=1), counts.matches)
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(there, 100 * smoothed / np.maximum(counts.totals, 1), 0.0))
    if effective_order:
        orders = np.maximum(there.sum(axis=1), 1)
        mean = np.where(there, logs, 0.0).sum(axis=1) / orders
    else:
        mean = logs.mean(axis=1)
    scores: Floats = brevity(counts) * np.exp(mean)
    scores[~counts.matches.any(axis=1)] = 0.0
    return scores


def nltk(counts: Counts, weights: Sequence[float], epsilon: float) -> Floats:
    """NLTK's sentence_bleu, 0 to 1, of each text; `epsilon` is that of its smoothing method1."""
    matches = np.where(counts.matches == 0, epsilon, counts.matches)
    with np.errstate(divide="ignore"):
        logs = np.log(matches / np.maximum(counts.totals, 1))
    used = np.asarray(weights) > 0
    scores: Floats = brevity(counts) * np.exp(logs[:, used] @ np.asarray(weights)[used])
    scores[counts.matches[:, 0] == 0] = 0.0
    return scores
