"""Near-duplicate rate: responses that nearly repeat another, by the n-grams they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric

BLOCK = 2**22
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
    rows = Tokens.of(tokens)
    sets = [_shingles(rows, text, n) for text in range(len(rows))]
    copies: dict[frozenset[str], int] = {}
    for grams in sets:
        if grams:
            copies[grams] = copies.get(grams, 0) + 1
    total = sum(copies.values())
    if total < 2:
        raise MetricInputError("fewer than two responses with a word")
    counts = np.fromiter(copies.values(), np.int64, len(copies))
    close = (counts > 1) | (_nearest(list(copies)) >= threshold)
    return float(counts[close].sum() / total)


def _shingles(rows: Tokens, text: int, n: int) -> frozenset[str]:
    words = rows[text]
    width = min(n, len(words))
    if not width:
        return frozenset()
    return frozenset(" ".join(words[i : i + width]) for i in range(len(words) - width + 1))


def _nearest(sets: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """The largest Jaccard similarity of each set to another; all are different."""
    # Importing SciPy's sparse matrices takes a while.
    from scipy.sparse import csr_matrix

    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(gram, len(numbers)) for grams in sets for gram in sorted(grams)]
    sizes = np.array([len(grams) for grams in sets])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    shape = (len(sets), len(numbers))
    matrix = csr_matrix((np.ones(len(columns), np.int32), columns, ends), shape=shape)
    nearest = np.zeros(len(sets))
    step = max(1, BLOCK // len(sets))
    for start in range(0, len(sets), step):
        shared = (matrix[start : start + step] @ matrix.T).toarray()
        here = np.arange(len(shared))
        shared[here, start + here] = 0
        together = sizes[start : start + step, None] + sizes[None] - shared
        nearest[start : start + step] = (shared / together).max(axis=1)
    return nearest
