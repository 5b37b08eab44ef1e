"""Effective semantic diversity: how many different responses that pass a fixed number of draws has.

A response that does not pass stays among the draws and adds nothing. So the number of responses is
the same for every model, which `vendi[correct]` and `distinct_k[correct]`, of the passing alone,
leave to the model. In return such a number says both how many pass and how they differ: it is a
quality. A model that only passes more often is better by it, and no wider.

The formulas are a reading of what arXiv:2504.12522 measures (diversity among the outputs that meet
a quality threshold, of a fixed number sampled, and by pairs); they are not quoted from it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics._classes import Labels, expected_classes, labels_of
from tofu_eval.metrics.base import GROWS, RAREFIED, metric


def distinct_passing_at(labels: Labels, correct: ArrayLike, *, k: int) -> float:
    """Number of different responses that pass, among k draws.

    Formula: sum over the classes that pass of 1 - C(n - c, k) / C(n, k), c how many responses of
        the class pass: the mean of `distinct_passing` over all subsets of k of the n responses.
    Args:
        labels: (n,) a class for each response, n >= 2.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (does not pass).
        k: draws, 1 <= k <= n.
    Returns: a count in [0, k], without bias whatever n is; 0 = none passes, k = all pass and no
        two are the same. Higher is better. Divided by k, the share of the draws that is of use.
    Undefined: fewer than two or fewer than k responses, or a response that passes whose
        equivalence was not decided.
    """
    counts, n = _count_passing(labels, correct)
    if n < k:
        raise MetricInputError(f"{n} responses, fewer than k = {k}")
    return expected_classes(counts, n, k)


@metric(
    name="distinct_passing",
    level="group",
    direction="higher",
    range=("0", "n"),
    needs=("equivalence", "correct"),
    paper="arXiv:2504.12522",
    measures="quality",
    bias=GROWS,
    at_count=distinct_passing_at,
)
def distinct_passing(labels: Labels, correct: ArrayLike) -> float:
    """Number of different responses that pass, among the n that were drawn.

    Formula: |{class of response i : response i passes}|.
    Args:
        labels: (n,) a class for each response, n >= 2.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (does not pass).
    Returns: a count in [0, n]; 0 = none passes, n = all pass and no two are the same. Higher is
        better. Grows with n, so compare at equal n, which `compare` does; `distinct_passing_at_k`
        does not.
    Undefined: fewer than two responses, or a response that passes whose equivalence was not
        decided.
    """
    counts, _ = _count_passing(labels, correct)
    return float(len(counts))


@metric(
    name="distinct_passing_pairs",
    level="group",
    direction="higher",
    range=("0", "1"),
    needs=("equivalence", "correct"),
    paper="arXiv:2504.12522",
    measures="quality",
)
def distinct_passing_pairs(labels: Labels, correct: ArrayLike) -> float:
    """Share of the pairs of responses of which both pass and that are not the same.

    Formula: (p^2 - sum over classes of c^2) / (n (n - 1)), p of the n responses pass, c of them of
        the class: the mean of [i and j pass, class i is not class j] over the pairs i != j.
    Args:
        labels: (n,) a class for each response, n >= 2.
        correct: (n,) verdicts: 1, 0, or NaN for an answer that cannot be read (does not pass).
    Returns: a share in [0, 1], without bias whatever n is; 0 = fewer than two different responses
        pass, 1 = all pass and no two are the same. Higher is better.
    Undefined: fewer than two responses, or a response that passes whose equivalence was not
        decided.
    """
    counts, n = _count_passing(labels, correct)
    pairs = int(counts.sum()) ** 2 - int((counts**2).sum())
    return pairs / (n * (n - 1))


def _count_passing(labels: Labels, correct: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """How many responses of each class pass, and how many responses there are."""
    values = verdicts(correct)
    n = len(values)
    if len(labels) != n:
        raise MetricInputError(f"{len(labels)} classes for {n} verdicts")
    if n < 2:
        raise MetricInputError(f"fewer than two responses ({n})")
    passing = [labels[int(i)] for i in np.flatnonzero(values == 1)]
    counts = Counter(labels_of(passing)) if passing else Counter()
    return np.array(list(counts.values()), dtype=np.int64), n


for _k in (5, 10):
    metric(
        name=f"distinct_passing_at_{_k}",
        level="group",
        direction="higher",
        range=("0", str(_k)),
        needs=("equivalence", "correct"),
        paper="arXiv:2504.12522",
        measures="quality",
        bias=RAREFIED,
        settings={"k": _k},
    )(distinct_passing_at)
