"""Unique-response rate: how many of the responses are different texts."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics._classes import counts_of, expected_classes
from tofu_eval.metrics.base import FALLS, metric


def unique_rate_at(texts: Sequence[str], *, k: int) -> float:
    """The mean of `unique_rate` over all subsets of k responses."""
    return expected_classes(counts_of(texts), len(texts), k) / k


@metric(
    name="unique_rate",
    level="group",
    direction="higher",
    range=("1/n", "1"),
    cost="cpu",
    needs=("text",),
    paper="arXiv:2504.05228",
    human=0.503,
    unit="of the responses",
    bias=FALLS,
    at_count=unique_rate_at,
    length_sensitive=True,
)
def unique_rate(texts: Sequence[str]) -> float:
    """Share of different texts among a prompt's responses.

    Formula: |set of texts| / n; two texts are the same if they differ at most in white space at
        the ends.
    Args:
        texts: the n responses, n >= 2.
    Returns: a share in [1/n, 1]; 1/n = all the same, 1 = no two the same. Longer texts are seldom
        equal, however alike they are.
    Undefined: fewer than two responses.
    Departs: the paper counts classes that a trained judge takes for equivalent; here only equal
        texts are equivalent, so paraphrases count as different.
    """
    need_two(texts)
    return len({text.strip() for text in texts}) / len(texts)
