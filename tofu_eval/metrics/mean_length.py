"""Mean length of the responses."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tokens import Tokens
from tofu_eval.metrics.base import metric


@metric(
    name="mean_length",
    level="group",
    direction="none",
    range=("0", "inf"),
    cost="cpu",
    needs=("tokens",),
    paper="arXiv:2507.15092",
    measures="length",
)
def mean_length(tokens: Sequence[Sequence[str]]) -> float:
    """Mean length of a prompt's responses, in NLTK tokens (words and punctuation marks).

    In scripts that are written without spaces, characters are the words.

    Formula: (1/n) sum of len(tokens[i]).
    Args:
        tokens: the words of each response, at least one response; an empty one has length 0.
    Returns: tokens a response, >= 0. Neither direction is better; it is shown because the
        other metrics, distinct-n above all, move with length.
    Undefined: no responses.
    """
    if not len(tokens):
        raise MetricInputError("no responses")
    return float(Tokens.of(tokens).lengths.mean())
