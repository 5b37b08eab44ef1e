"""Mean reward: how good the responses are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics.base import metric


@metric(
    name="reward",
    level="group",
    direction="higher",
    range=("-inf", "inf"),
    cost="model",
    needs=("reward",),
    paper="arXiv:2403.13787",
    measures="quality",
)
def reward(rewards: ArrayLike) -> float:
    """Mean raw reward of a prompt's responses.

    Formula: (1/n) sum of rewards.
    Args:
        rewards: (n, 1) or (n,) floats, n >= 1: the reward model's logits.
    Returns: a mean on the reward model's own scale; higher is better. Compare only values of
        the same reward model.
    Undefined: no responses, or a reward that is not finite.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if values.size == 0:
        raise MetricInputError("no responses")
    if values.size != len(values):
        raise MetricInputError(f"rewards of shape {values.shape}, expected one a response")
    if not np.isfinite(values).all():
        raise MetricInputError("a reward that is NaN or infinite")
    return float(values.mean())
