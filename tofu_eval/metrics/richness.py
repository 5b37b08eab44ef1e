"""What the sample has not shown: Chao1, Good-Turing coverage, rarefaction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._classes import FLAVOURS, Labels, counts_of, expected_sum
from tofu_eval.metrics.base import RAREFIED, metric


def chao1(labels: Labels) -> float:
    """Lower bound of how many different responses the model has, seen or not.

    Formula: S + f1 (f1 - 1) / (2 (f2 + 1)), S classes seen, f1 of them once and f2 twice: the
        bias-corrected form.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
    Returns: a count in [1, (n^2 + n) / 2]; 1 = all the same. A bound, and a loose one where most
        responses were seen once.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Source: Chao et al., Ecological Monographs 84 (2014).
    """
    counts = counts_of(labels)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return len(counts) + once * (once - 1) / (2 * (twice + 1))


def good_turing_coverage(labels: Labels) -> float:
    """Share of the model's answers that the classes seen so far make up.

    Formula: 1 - f1 / n, f1 the classes that were seen once.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
    Returns: a share in [0, 1]; 1 = every class was seen twice (nothing new to expect), 0 = every
        response was new.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Source: Good, Biometrika 40 (1953).
    """
    counts = counts_of(labels)
    return 1.0 - int((counts == 1).sum()) / int(counts.sum())


def good_turing_at(labels: Labels, *, k: int) -> float:
    """The mean of `good_turing_coverage` over all subsets of k responses."""
    counts = counts_of(labels)
    once = expected_sum(counts, len(labels), k, lambda taken: (taken == 1).astype(np.float64))
    return 1.0 - once / k


def rarefaction(labels: Labels) -> NDArray[np.float64]:
    """E[distinct_k] for every k from 1 to n: how many classes k of the responses would show.

    Formula: sum over classes of 1 - C(n - c, k) / C(n, k), c the size of the class; without
        bias for the expected number of classes in k draws.

    Returns: (n,) counts that never fall, the first 1 and the last the number of classes.
    Raises:
        MetricInputError: no responses, or an equivalence that was not decided.
    Source: Hurlbert, Ecology 52 (1971); with k = 1 … n, so that runs with different n compare.
    """
    counts = counts_of(labels, least=1)
    n = int(counts.sum())
    sizes, times = np.unique(counts, return_counts=True)
    curve = np.empty(n)
    missed = np.ones(len(sizes))  # P(a class of that size is in none of the k)
    for k in range(1, n + 1):
        missed *= np.maximum(n - sizes - k + 1, 0) / (n - k + 1)
        curve[k - 1] = times @ (1.0 - missed)
    return curve


def distinct_at_k(labels: Labels, *, k: int) -> float:
    """How many different responses k draws would show.

    Formula: sum over classes of 1 - C(n - c, k) / C(n, k), c the size of the class: the mean
        number of classes over all subsets of k responses.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
        k: draws, 1 <= k <= n.
    Returns: a count in [1, k], without bias whatever n is, so that runs with different numbers
        of responses can be compared; 1 = all the same, k = no two the same.
    Undefined: fewer than two or fewer than k responses, or an equivalence that was not decided.
    """
    counts_of(labels)
    if len(labels) < k:
        raise MetricInputError(f"{len(labels)} responses, fewer than k = {k}")
    return float(rarefaction(labels)[k - 1])


for _suffix, _need, _cost in FLAVOURS:
    metric(
        name=f"chao1{_suffix}",
        level="group",
        direction="higher",
        range=("1", "inf"),
        cost=_cost,
        needs=(_need,),
        paper="doi:10.1890/13-0133.1",
        bias="corrected by Chao: a lower bound of the classes there are",
        length_sensitive=_need == "text",
    )(chao1)
    metric(
        name=f"good_turing_coverage{_suffix}",
        level="group",
        direction="lower",
        range=("0", "1"),
        cost=_cost,
        needs=(_need,),
        paper="doi:10.1093/biomet/40.3-4.237",
        bias="Good and Turing, of one response fewer; grows with the responses",
        at_count=good_turing_at,
        length_sensitive=_need == "text",
    )(good_turing_coverage)
    for _k in (5, 10):
        metric(
            name=f"distinct_at_{_k}{_suffix}",
            level="group",
            direction="higher",
            range=("1", str(_k)),
            cost=_cost,
            needs=(_need,),
            paper="doi:10.2307/1934145",
            bias=RAREFIED,
            settings={"k": _k},
            length_sensitive=_need == "text",
        )(distinct_at_k)
