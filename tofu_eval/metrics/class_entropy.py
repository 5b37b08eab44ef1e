"""Entropy of the distribution over different responses."""

from __future__ import annotations

import numpy as np

from tofu_eval.metrics._classes import FLAVOURS, Labels, counts_of, expected_classes, expected_sum
from tofu_eval.metrics.base import metric


def entropy_miller_madow(labels: Labels) -> float:
    """Entropy of the model's distribution over different responses, in nats.

    Formula: -sum p log p + (S - 1) / (2 n), p the shares of the S classes: the Miller-Madow
        correction of the sample's entropy, which is too low by about that much.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
    Returns: nats >= 0; 0 = all the same, log n + (n - 1) / (2 n) = no two the same. What is left
        of the bias is largest where most responses were seen once.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Source: Miller (1955); Paninski, Neural Computation 15 (2003).
    """
    counts = counts_of(labels)
    n = int(counts.sum())
    p = counts / n
    return max(0.0, -float(p @ np.log(p))) + (len(counts) - 1) / (2 * n)


def entropy_at(labels: Labels, *, k: int) -> float:
    """The mean of `entropy_miller_madow` over all subsets of k responses."""
    counts, n = counts_of(labels), len(labels)
    entropy = expected_sum(counts, n, k, lambda taken: -(taken / k) * np.log(taken / k))
    return max(0.0, entropy) + (expected_classes(counts, n, k) - 1) / (2 * k)


for _suffix, _need, _cost in FLAVOURS:
    metric(
        name=f"entropy_miller_madow{_suffix}",
        level="group",
        direction="higher",
        range=("0", "inf"),
        cost=_cost,
        needs=(_need,),
        paper="doi:10.1162/089976603321780272",
        bias="corrected by Miller and Madow; what is left grows with the responses",
        at_count=entropy_at,
        length_sensitive=_need == "text",
    )(entropy_miller_madow)
