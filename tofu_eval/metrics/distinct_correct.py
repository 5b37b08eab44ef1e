"""How many different correct answers, and different ways to them, there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics._classes import expected_classes
from tofu_eval.metrics.base import GROWS, metric


def correct_answers_at(answers: ArrayLike, correct: ArrayLike, *, k: int) -> float:
    """The mean of `distinct_correct_answers` over all subsets of k responses."""
    return _expect_classes(_right_answers(answers, correct), len(verdicts(correct)), k)


def correct_solutions_at(texts: Sequence[str], correct: ArrayLike, *, k: int) -> float:
    """The mean of `distinct_correct_solutions` over all subsets of k responses."""
    return _expect_classes(_right_texts(texts, correct), len(texts), k)


def _expect_classes(right: Counter[Any], n: int, k: int) -> float:
    return expected_classes(np.array(list(right.values()), dtype=np.int64), n, k)


@metric(
    name="distinct_correct_answers",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="cpu",
    needs=("answer", "correct"),
    paper="arXiv:2504.05228",
    measures="quality",
    bias=GROWS,
    at_count=correct_answers_at,
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
    return float(len(_right_answers(answers, correct)))


@metric(
    name="distinct_correct_solutions",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="cpu",
    needs=("text", "correct"),
    paper="arXiv:2504.05228",
    measures="quality",
    bias=GROWS,
    at_count=correct_solutions_at,
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
    return float(len(_right_texts(texts, correct)))


def _right_answers(answers: ArrayLike, correct: ArrayLike) -> Counter[int]:
    """How often each correct answer was given."""
    values, labels = verdicts(correct), np.asarray(answers).reshape(-1)
    if len(labels) != len(values):
        raise MetricInputError(f"{len(labels)} answers for {len(values)} verdicts")
    return Counter(labels[values == 1].tolist())


def _right_texts(texts: Sequence[str], correct: ArrayLike) -> Counter[str]:
    """How often each correct text was given."""
    values = verdicts(correct)
    if len(texts) != len(values):
        raise MetricInputError(f"{len(texts)} texts for {len(values)} verdicts")
    return Counter(" ".join(texts[i].split()) for i in np.flatnonzero(values == 1))
