"""Unique-response rate: how many of the responses are different texts."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import FALLS, metric


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
)
def unique_rate(texts: Sequence[str]) -> float:
    """Share of different texts among a prompt's responses.

    Formula: |set of texts| / n; two texts are the same if they differ at most in white space at
        the ends.
    Args:
        texts: the n responses, n >= 2.
    Returns: a share in [1/n, 1]; 1/n = all the same, 1 = no two the same.
    Undefined: fewer than two responses.
    Departs: the paper counts classes that a trained judge takes for equivalent; here only equal
        texts are equivalent, so paraphrases count as different.
    """
    need_two(texts)
    return len({text.strip() for text in texts}) / len(texts)
