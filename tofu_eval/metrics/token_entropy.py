"""How many ways the model saw to go on at each token that it generated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


def mean_surprise(logprobs: Sequence[float]) -> float:
    """-log P a token of one response, in nats.

    Raises:
        MetricInputError: there is no token, or a number that is no log-probability.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if not values.size:
        raise MetricInputError("a response without a token")
    if not np.isfinite(values).all() or (values > 1e-6).any():
        raise MetricInputError("a log-probability that is NaN, infinite or above 0")
    return max(0.0, -float(values.mean()))


@metric(
    name="token_entropy",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="cpu",
    needs=("token_logprobs",),
    paper="arXiv:2506.17871",
    unit="nats a token",
)
def token_entropy(logprobs: Sequence[Sequence[float]]) -> float:
    """The model's entropy at a token of its own responses.

    Formula: mean over responses of -log P(response | prompt) / tokens.
    Args:
        logprobs: for each response, the log-probability in nats of each token, its end included.
    Returns: nats a token, >= 0; 0 = each token was certain. Where responses were drawn at
        temperature 1 with nothing cut off it is the model's own entropy; otherwise it is the
        cross-entropy of the decoder with the model.
    Undefined: fewer than two responses, one without a token, or a log-probability that is not
        finite or above 0.
    """
    need_two(logprobs)
    return float(np.mean([mean_surprise(each) for each in logprobs]))


@metric(
    name="branching_factor",
    level="group",
    direction="higher",
    range=("1", "inf"),
    cost="cpu",
    needs=("token_logprobs",),
    paper="arXiv:2506.17871",
    unit="ways to go on",
)
def branching_factor(logprobs: Sequence[Sequence[float]]) -> float:
    """Effective number of ways to go on at a token of the model's own responses.

    Formula: exp(token_entropy).
    Args:
        logprobs: for each response, the log-probability in nats of each token, its end included.
    Returns: a count >= 1; 1 = each token was certain.
    Undefined: as token_entropy.
    Departs: the paper takes the full distribution at each token for short responses, and this
        estimate for long ones; and it truncates the distribution as the decoder does, where these
        log-probabilities are the model's own, at temperature 1.
    """
    return float(np.exp(token_entropy(logprobs)))
