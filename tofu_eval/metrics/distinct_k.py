"""NoveltyBench's distinct_k: the number of different responses."""

from __future__ import annotations

from tofu_eval.metrics._classes import Labels, counts_of, expected_classes
from tofu_eval.metrics.base import GROWS, metric


def distinct_k_at(classes: Labels, *, k: int) -> float:
    """The mean of `distinct_k` over all subsets of k responses."""
    return expected_classes(counts_of(classes), len(classes), k)


def max_class_at(classes: Labels, *, k: int) -> float:
    """The mean of `distinct_k@novelty-bench-1.0` over all subsets of k responses."""
    return distinct_k_at(classes, k=k) - 1.0


@metric(
    name="distinct_k",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("equivalence",),
    paper="arXiv:2504.05228",
    human=0.582,
    unit="classes",
    bias=GROWS,
    at_count=distinct_k_at,
)
def distinct_k(classes: Labels) -> float:
    """How many functionally different responses there are among a prompt's k = n.

    Formula: |set of classes|.
    Args:
        classes: (n,) whole numbers, the class of each response, n >= 2.
    Returns: a count in [1, n]; 1 = all equivalent, n = no two equivalent.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Departs: the published files and their summary have max(class), with classes from 0: one less
        (0.83 for Gemini 1.5 Pro, where there are 1.83 classes; mended at 2b29e9f).
    """
    return float(len(counts_of(classes)))


@metric(
    name="distinct_k@novelty-bench-1.0",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="model",
    needs=("equivalence",),
    paper="arXiv:2504.05228",
    bias=GROWS,
    at_count=max_class_at,
)
def max_class(classes: Labels) -> float:
    """NoveltyBench's published `distinct`; give it --equivalence novelty-bench-1.0.

    Formula: |set of classes| - 1, which is max(class) where classes are numbered from 0.
    Args:
        classes: (n,) whole numbers, the class of each response, n >= 2.
    Returns: a count in [0, n - 1]; 0 = all equivalent, n - 1 = no two equivalent.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Reproduces: the count of partition.py before 2b29e9f, one less than the number of classes.
    """
    return distinct_k(classes) - 1.0
