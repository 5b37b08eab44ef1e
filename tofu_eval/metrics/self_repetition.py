"""Self-repetition: how often the long n-grams of a response stand in the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="self_repetition",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("tokens_space",),
    paper="arXiv:2403.00553",
    bias=GROWS,
    length_sensitive=True,
)
def self_repetition(tokens: Sequence[Sequence[str]], n: int = 4) -> float:
    """How often the n-grams of a response stand in the other responses, on a log scale.

    Formula: mean over i of log(1 + N_i), N_i = sum over the different n-grams of response i of
        the number of other responses that have it.
    Args:
        tokens: the white-space words of each response; at least two responses.
        n: length of an n-gram, n >= 1.
    Returns: nats, >= 0; 0 = no n-gram of a response stands in another (or all are shorter than
        n words).
    Undefined: fewer than two responses.
    """
    need_two(tokens)
    rows = Tokens.of(tokens)
    numbers, different = rows.ngrams(n)
    text = np.repeat(np.arange(len(rows)), rows.lengths)
    there = numbers >= 0
    pairs = np.unique(numbers[there] * len(rows) + text[there])
    having = np.bincount(pairs // len(rows), minlength=different)
    others = np.bincount(pairs % len(rows), having[pairs // len(rows)] - 1, len(rows))
    return float(np.mean(np.sort(np.log1p(others))))
