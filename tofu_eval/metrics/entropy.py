"""Entropy of the n-grams of a prompt's responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import GROWS, metric


def ngram_entropy(tokens: Sequence[Sequence[str]], *, n: int) -> float:
    """Entropy of the distribution of n-grams over all responses, in nats.

    Formula: -sum_g p_g log p_g, p_g the share of n-gram g among all n-grams, pooled over the
        responses; no n-gram spans two.
    Args:
        tokens: the words of each response; at least two responses.
        n: length of an n-gram, n >= 1.
    Returns: nats, >= 0; 0 = one n-gram only, log N = N n-grams, no two alike. Grows with length.
    Undefined: fewer than two responses, or all of them shorter than n tokens.
    """
    need_two(tokens)
    counts = Tokens.of(tokens).counts(n)
    if not len(counts):
        raise MetricInputError(f"no {n}-grams: every response is shorter than {n} tokens")
    shares = np.sort(counts) / counts.sum()
    return max(0.0, -float(shares @ np.log(shares)))


for _n in (1, 2, 3, 4):
    metric(
        name=f"ngram_entropy_{_n}",
        level="group",
        direction="higher",
        range=("0", "inf"),
        cost="cpu",
        needs=("tokens",),
        paper="arXiv:1809.05972",
        bias=GROWS,
        settings={"n": _n},
        length_sensitive=True,
    )(ngram_entropy)
