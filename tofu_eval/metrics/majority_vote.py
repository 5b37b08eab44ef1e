"""Majority vote: is the most frequent answer correct?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics.base import metric


@metric(
    name="majority_vote",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("answer", "correct"),
    paper="arXiv:2203.11171",
    measures="quality",
    bias="plug-in, moves with the number of responses: compare equal numbers",
)
def majority_vote(answers: ArrayLike, correct: ArrayLike) -> float:
    """Whether the most frequent answer is correct (self-consistency).

    Formula: mean over the classes of answers with the most members of [the class is correct];
        responses without an answer do not vote.
    Args:
        answers: (n,) class numbers, n >= 1: equal for equal answers, negative for no answer.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (wrong).
    Returns: 1 or 0, or between them where classes tie: the chance when a tie is broken at random.
        Higher is better. No response with an answer: 0.
    Undefined: no responses.
    """
    values, labels = verdicts(correct), np.asarray(answers).reshape(-1)
    if len(labels) != len(values):
        raise MetricInputError(f"{len(labels)} answers for {len(values)} verdicts")
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    if classes.size == 0:
        return 0.0
    winners = classes[counts == counts.max()]
    return float(np.mean([np.mean(values[labels == winner] == 1) for winner in winners]))
