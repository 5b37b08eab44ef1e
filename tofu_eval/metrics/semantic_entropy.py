"""Entropy of the distribution over meanings: classes of equivalent responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._classes import Labels, counts_of, expected_sum, labels_of
from tofu_eval.metrics.base import GROWS, metric
from tofu_eval.metrics.token_entropy import mean_surprise


def _entropy(shares: NDArray[np.float64]) -> float:
    return max(0.0, -float(shares @ np.log(shares)))


def semantic_entropy_at(labels: Labels, *, k: int) -> float:
    """The mean of `semantic_entropy` over all subsets of k responses."""
    counts, n = counts_of(labels), len(labels)
    return max(0.0, expected_sum(counts, n, k, lambda taken: -(taken / k) * np.log(taken / k)))


@metric(
    name="semantic_entropy",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="model",
    needs=("equivalence",),
    paper="arXiv:2302.09664",
    unit="nats",
    bias=GROWS,
    at_count=semantic_entropy_at,
)
def semantic_entropy(labels: Labels) -> float:
    """Entropy over meanings, each as probable as its share of the responses.

    Formula: -sum_C p_C log p_C, p_C = |C| / n; the discrete form. The paper's classes are those of
        --equivalence nli.
    Args:
        labels: a class for each of the n responses.
    Returns: nats in [0, log n]; 0 = one meaning, log n = no two alike.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    """
    counts = counts_of(labels)
    return _entropy(counts / counts.sum())


@metric(
    name="semantic_entropy_likelihood",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="model",
    needs=("equivalence", "token_logprobs"),
    paper="arXiv:2302.09664",
    unit="nats",
    bias=GROWS,
)
def semantic_entropy_likelihood(labels: Labels, logprobs: Sequence[Sequence[float]]) -> float:
    """Entropy over meanings, each as probable as the model makes its responses.

    Formula: -sum_C p_C log p_C, p_C = sum of w_i over C / sum of all w_i, w_i = exp(mean log P of
        the tokens of response i).
    Args:
        labels: a class for each of the n responses.
        logprobs: for each response, the log-probability in nats of each token, its end included.
    Returns: nats in [0, log n]; 0 = one meaning.
    Undefined: fewer than two responses, an equivalence that was not decided, or a log-probability
        that is unknown, not finite or above 0.
    Departs: the paper's equation averages -log p_C over the classes and leaves p_C unnormalised;
        normalised it is an entropy, as in doi:10.1038/s41586-024-07421-0. The weights are by token,
        as the paper's length-normalised form has them: a long response is not less likely for it.
    """
    classes = labels_of(labels)
    if len(classes) < 2:
        raise MetricInputError(f"fewer than two responses ({len(classes)})")
    weights: dict[object, float] = {}
    for label, each in zip(classes, logprobs, strict=True):
        weights[label] = weights.get(label, 0.0) + float(np.exp(-mean_surprise(each)))
    mass = np.array([*weights.values()])
    return _entropy(mass / mass.sum())
