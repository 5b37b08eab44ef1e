"""Collision probability: how often two responses are the same."""

from __future__ import annotations

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._classes import FLAVOURS, Labels, counts_of
from tofu_eval.metrics.base import metric


def collision_probability(labels: Labels) -> float:
    """Probability that two responses to a prompt are the same or equivalent.

    Formula: sum c (c - 1) / (n (n - 1)), c the sizes of the classes: unbiased for sum p^2, the
        Simpson index, whatever n is.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
    Returns: a probability in [0, 1]; 1 = all the same, 0 = no two the same.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Source: Simpson, Nature 163 (1949).
    """
    counts = counts_of(labels)
    n = int(counts.sum())
    return int((counts * (counts - 1)).sum()) / (n * (n - 1))


def collision_ratio(labels: Labels, references: Labels) -> float:
    """How often two responses collide, beside how often two references do.

    Formula: collision_probability(responses) / collision_probability(references).
    Args:
        labels: a class for each of the n responses, or the responses themselves.
        references: the same of the m references, m >= 2.
    Returns: a ratio >= 0; 1 = as diverse as the references, above 1 = narrower.
    Undefined: fewer than two responses or references, no two references the same (the
        references are then too few to tell), or an equivalence that was not decided.
    """
    observed = collision_probability(labels)
    if len(references) < 2:
        raise MetricInputError(f"fewer than two references ({len(references)})")
    expected = collision_probability(references)
    if expected == 0:
        raise MetricInputError(f"no two of the {len(references)} references are the same")
    return observed / expected


for _suffix, _need, _cost in FLAVOURS:
    metric(
        name=f"collision_probability{_suffix}",
        level="group",
        direction="lower",
        range=("0", "1"),
        cost=_cost,
        needs=(_need,),
        paper="doi:10.1038/163688a0",
        length_sensitive=_need == "text",
    )(collision_probability)
    metric(
        name=f"collision_ratio{_suffix}",
        level="group",
        direction="lower",
        range=("0", "inf"),
        cost=_cost,
        needs=(_need, "references" if _need == "text" else "reference_equivalence"),
        paper="doi:10.1038/163688a0",
    )(collision_ratio)
