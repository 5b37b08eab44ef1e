"""Entropy of the model's distribution over whole responses, from its own log-probabilities."""

from __future__ import annotations

from math import fsum

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


@metric(
    name="sequence_entropy",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="cpu",
    needs=("logprob",),
    paper="arXiv:2302.09664",
    length_sensitive=False,
)
def sequence_entropy(logprobs: ArrayLike) -> float:
    """Entropy of the model's distribution over whole responses, in nats.

    Formula: -(1/n) sum_i log P(response_i | prompt).
    Args:
        logprobs: (n,) log-probabilities in nats, each the sum over all tokens of a response,
            n >= 2.
    Returns: nats >= 0; without bias for the entropy if the responses were drawn at temperature 1
        with nothing cut off; otherwise it is the cross-entropy of the decoder with the model.
        Longer responses have more, so read it beside mean_length.
    Undefined: fewer than two responses, or a log-probability that is unknown, not finite or
        above 0.
    """
    need_two(np.atleast_1d(logprobs))
    values = np.asarray(logprobs, dtype=np.float64).reshape(-1)
    if not np.isfinite(values).all() or (values > 1e-6).any():
        raise MetricInputError("a log-probability that is NaN, infinite or above 0")
    return max(0.0, -fsum(values) / len(values))
