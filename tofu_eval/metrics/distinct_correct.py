"""How many different correct answers, and different ways to them, there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics.base import metric


@metric(
    name="distinct_correct_answers",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="cpu",
    needs=("answer", "correct"),
    paper="arXiv:2504.05228",
    measures="quality",
)
def distinct_correct_answers(answers: ArrayLike, correct: ArrayLike) -> float:
    """Number of different correct answers to a prompt.

    Formula: |{class of answer i : response i is correct}|.
    Args:
        answers: (n,) class numbers, n >= 1: equal for equal answers, negative for no answer.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (wrong).
    Returns: a count in [0, n]; higher is better. At most 1 where the prompt has one reference.
        Grows with n, so compare at equal n.
    Undefined: no responses.
    """
    values, labels = verdicts(correct), np.asarray(answers).reshape(-1)
    if len(labels) != len(values):
        raise MetricInputError(f"{len(labels)} answers for {len(values)} verdicts")
    return float(len(set(labels[values == 1].tolist())))


@metric(
    name="distinct_correct_solutions",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="cpu",
    needs=("text", "correct"),
    paper="arXiv:2504.05228",
    measures="quality",
)
def distinct_correct_solutions(texts: Sequence[str], correct: ArrayLike) -> float:
    """Number of different texts among the correct responses to a prompt.

    Formula: |{text i, white space apart : response i is correct}|.
    Args:
        texts: the n responses, n >= 1.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (wrong).
    Returns: a count in [0, n]; higher is better. Grows with n, so compare at equal n. Ways that
        differ in more than words are counted by `distinct_k[correct]`.
    Undefined: no responses.
    """
    values = verdicts(correct)
    if len(texts) != len(values):
        raise MetricInputError(f"{len(texts)} texts for {len(values)} verdicts")
    return float(len({" ".join(texts[i].split()) for i in np.flatnonzero(values == 1)}))
