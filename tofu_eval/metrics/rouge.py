"""ROUGE-L homogenization: how alike two responses are in their order of words."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


@metric(
    name="rouge_l_homogenization",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("tokens_rouge",),
    paper="arXiv:2403.00553",
    human=0.717,
    length_sensitive=True,
)
def rouge_l_homogenization(tokens: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L F1 over all pairs of responses.

    Formula: mean over i < j of 2 LCS(i, j) / (len_i + len_j), LCS the longest common subsequence
        of words: F1 of LCS / len_i and LCS / len_j.
    Args:
        tokens: rouge-score's words (a-z and 0-9, lower case, not stemmed; in other scripts than
            Latin, all letters and digits) of each response, at least two of which have some.
    Returns: a mean in [0, 1]; 1 = all the same, 0 = no two share a word. A pair with an empty
        response counts 0.
    Undefined: fewer than two responses, or fewer than two that have any words.
    """
    from rapidfuzz.distance import LCSseq

    need_two(tokens)
    rows = Tokens.of(tokens)
    if (rows.lengths > 0).sum() < 2:
        raise MetricInputError("fewer than two responses with a letter or a digit")
    words = [rows.ids[a:b].tolist() for a, b in zip(rows.starts, rows.starts[1:], strict=False)]
    total = 0.0
    for i, one in enumerate(words):
        for other in words[:i]:
            if one and other:
                total += 2 * LCSseq.similarity(one, other) / (len(one) + len(other))
    return min(1.0, total / (len(words) * (len(words) - 1) / 2))
