"""Accuracy, and the share of answers that cannot be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics.base import metric


@metric(
    name="accuracy",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("correct",),
    paper="arXiv:2110.14168",
    measures="quality",
)
def accuracy(correct: ArrayLike) -> float:
    """Share of responses whose answer is correct.

    Formula: (1/n) sum of [response i is correct].
    Args:
        correct: (n,) verdicts, n >= 1: 1, 0, or NaN for an answer that cannot be read.
    Returns: a share in [0, 1]; higher is better. An unreadable answer counts as wrong; how many
        there are, unparsable_rate says.
    Undefined: no responses.
    """
    return float(np.mean(verdicts(correct) == 1))


@metric(
    name="unparsable_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("correct",),
    paper="arXiv:2110.14168",
    measures="quality",
)
def unparsable_rate(correct: ArrayLike) -> float:
    """Share of responses without an answer that the verifier can read.

    Formula: (1/n) sum of [verdict i is NaN].
    Args:
        correct: (n,) verdicts, n >= 1: 1, 0, or NaN for an answer that cannot be read.
    Returns: a share in [0, 1]; lower is better. Where it differs between models, accuracy
        compares their formats too.
    Undefined: no responses.
    """
    return float(np.mean(np.isnan(verdicts(correct))))
