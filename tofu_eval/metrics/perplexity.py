"""How fluent the responses are to a language model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._likelihood import read_likelihood
from tofu_eval.metrics.base import metric


@metric(
    name="perplexity",
    level="group",
    direction="none",
    range=("1", "inf"),
    cost="model",
    needs=("likelihood",),
    measures="style",
    paper="doi:10.1121/1.2016299",
)
def perplexity(likelihood: ArrayLike) -> float:
    """Perplexity of the responses after their prompt: a check of fluency, no aim in itself.

    Formula: exp(-sum_i log P(response_i | prompt) / sum_i tokens_i).
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
    Returns: effective choices a token, >= 1. Text that repeats itself has a low one, text that
        nobody would write a high one: compare it with that of people's answers.
    Undefined: no responses, or one without a token.
    Source: Jelinek, Mercer, Bahl and Baker, J. Acoust. Soc. Am. 62 S1 (1977).
    """
    read = read_likelihood(likelihood)
    return float(np.exp(read.nats.sum() / read.tokens.sum()))
