"""NoveltyBench's utility_k: what the responses are worth to a user who reads them in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import ConfigError, MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics._classes import Labels, labels_of
from tofu_eval.metrics.base import FALLS, metric


@metric(
    name="utility_k",
    level="group",
    direction="higher",
    range=("0", "10"),
    cost="model",
    needs=("equivalence", "reward_level"),
    paper="arXiv:2504.05228",
    bias=FALLS,
    measures="quality",
    version=2,
)
def utility_k(classes: Labels, levels: ArrayLike, patience: float = 0.8) -> float:
    """Quality of the new responses, for a user who reads on with a given patience.

    Formula: sum_i p^i u_i [response i opens a class] / sum_i p^i, i = 0 … n - 1, p the patience,
        u_i the points of response i.
    Args:
        classes: (n,) whole numbers, the class of each response in the order of sampling, n >= 2.
        levels: (n,) points from 1 to 10, by the calibration of the reward model in force. The
            published numbers are with Skywork/Skywork-Reward-Gemma-2-27B-v0.2 and its deciles.
        patience: probability that the user reads on, 0 < p <= 1.
    Returns: points in [0, 10]; more is better. Depends on the order of the responses.
    Undefined: fewer than two responses, a reward that is not finite, or an equivalence that was
        not decided.
    """
    if not 0 < patience <= 1:
        raise ConfigError(f"utility_k: patience must lie in (0, 1], got {patience}.")
    need_two(classes)
    points = np.asarray(levels, dtype=np.float64).reshape(-1)
    if len(points) != len(classes):
        raise MetricInputError(f"{len(points)} rewards for {len(classes)} responses")
    if not np.isfinite(points).all():
        raise MetricInputError("a reward that is NaN or infinite")
    labels = labels_of(classes)
    opens = np.array([label not in labels[:i] for i, label in enumerate(labels)])
    return float(np.average(points * opens, weights=patience ** np.arange(len(points))))
