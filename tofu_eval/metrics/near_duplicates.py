"""Near-duplicate rate: responses that nearly repeat another, by MinHash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric

PRIME = np.uint64(2**31 - 1)


@metric(
    name="near_duplicate_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens_wordpunct",),
    paper="arXiv:2107.06499",
    bias=GROWS,
    length_sensitive=True,
)
def near_duplicate_rate(
    tokens: Sequence[Sequence[str]], threshold: float = 0.8, n: int = 3, permutations: int = 256
) -> float:
    """Share of responses whose set of n-grams is nearly that of another response.

    Formula: |{i : max over j != i of J(i, j) >= threshold}| / responses, J the share of
        permutations under which the sets of n-grams of i and j have the same smallest hash: an
        unbiased estimate of their Jaccard similarity, with a standard error of at most
        0.5 / sqrt(permutations).
    Args:
        tokens: the word and punctuation tokens of each response; at least two responses.
        threshold: the similarity from which on two responses are near duplicates, in (0, 1].
        n: length of an n-gram; a response of fewer than n tokens is one n-gram of its own.
        permutations: random hash functions, the same in every call.
    Returns: a share in [0, 1]; 1 = every response nearly repeats another.
    Undefined: fewer than two responses, or fewer than two that have any tokens; an empty one is
        left out.
    """
    need_two(tokens)
    rows = Tokens.of(tokens)
    sets = [grams for i in range(len(rows)) if len(grams := _shingles(rows, i, n))]
    if len(sets) < 2:
        raise MetricInputError("fewer than two responses with a word")
    sketches = np.stack([_sketch(grams, permutations) for grams in sets])
    alike = (sketches[:, None] == sketches[None]).mean(axis=2)
    np.fill_diagonal(alike, 0.0)
    return float((alike.max(axis=1) >= threshold).mean())


def _shingles(rows: Tokens, text: int, n: int) -> NDArray[np.uint64]:
    """A hash of each n-gram that depends on its words alone, and so not on the other texts."""
    words = rows[text]
    if not words:
        return np.empty(0, np.uint64)
    # CRC-32 is the same in every process, which Python's own hash of a string is not.
    from zlib import crc32

    width = min(n, len(words))
    grams = {" ".join(words[i : i + width]) for i in range(len(words) - width + 1)}
    return np.array([crc32(gram.encode("utf-8")) % int(PRIME) for gram in grams], dtype=np.uint64)


def _sketch(grams: NDArray[np.uint64], permutations: int) -> NDArray[np.uint64]:
    random = np.random.default_rng(0)
    a, b = random.integers(1, int(PRIME), size=(2, permutations, 1), dtype=np.uint64)
    sketch: NDArray[np.uint64] = ((a * grams + b) % PRIME).min(axis=1)
    return sketch
