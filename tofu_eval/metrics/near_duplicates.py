"""Near-duplicate rate: responses that nearly repeat another, by the n-grams they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric

BLOCK = 2**20
"""Pairs of responses that are compared at a time: what bounds the memory."""


@metric(
    name="near_duplicate_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens_wordpunct",),
    paper="arXiv:2107.06499",
    version=2,
    bias=GROWS,
    length_sensitive=True,
)
def near_duplicate_rate(
    tokens: Sequence[Sequence[str]], threshold: float = 0.8, n: int = 3
) -> float:
    """Share of responses whose set of n-grams is nearly that of another response.

    Formula: |{i : max over j != i of J(i, j) >= threshold}| / responses, J the Jaccard similarity
        |A n B| / |A u B| of the sets of n-grams of i and j.
    Args:
        tokens: the word and punctuation tokens of each response; at least two responses.
        threshold: the similarity from which on two responses are near duplicates, in (0, 1].
        n: length of an n-gram; a response of fewer than n tokens is one n-gram of its own.
    Returns: a share in [0, 1]; 1 = every response nearly repeats another.
    Undefined: fewer than two responses, or fewer than two that have any tokens; an empty one is
        left out.
    Departs: the paper estimates J by MinHash; here it is exact, a block of responses at a time.
    """
    need_two(tokens)
    copies: dict[bytes, int] = {}
    for grams in _sets(Tokens.of(tokens), n):
        if len(grams):
            key = grams.tobytes()
            copies[key] = copies.get(key, 0) + 1
    total = sum(copies.values())
    if total < 2:
        raise MetricInputError("fewer than two responses with a word")
    counts = np.fromiter(copies.values(), np.int64, len(copies))
    sets = [np.frombuffer(key, np.int64) for key in copies]
    close = (counts > 1) | (_nearest(sets) >= threshold)
    return float(counts[close].sum() / total)


def _sets(rows: Tokens, n: int) -> Iterator[NDArray[np.int64]]:
    """The numbers of each text's different n-grams, in order."""
    numbers, different = rows.ngrams(n)
    short: dict[bytes, int] = {}
    for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True):
        if 0 < end - start < n:
            own = different + short.setdefault(rows.ids[start:end].tobytes(), len(short))
            yield np.array([own], dtype=np.int64)
        else:
            grams = numbers[start:end]
            yield np.unique(grams[grams >= 0]).astype(np.int64)


def _nearest(sets: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """The largest Jaccard similarity of each set to another; all are different."""
    # Importing SciPy's sparse matrices takes a while.
    from scipy.sparse import csr_matrix

    sizes = np.array([len(grams) for grams in sets])
    known, columns = np.unique(np.concatenate(sets), return_inverse=True)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(columns), np.int32)
    matrix = csr_matrix((ones, columns, ends), shape=(len(sets), len(known)))
    nearest = np.zeros(len(sets))
    step = max(1, BLOCK // len(sets))
    for start in range(0, len(sets), step):
        shared = (matrix[start : start + step] @ matrix.T).toarray()
        here = np.arange(len(shared))
        shared[here, start + here] = 0
        together = sizes[start : start + step, None] + sizes[None] - shared
        nearest[start : start + step] = (shared / together).max(axis=1)
    return nearest
