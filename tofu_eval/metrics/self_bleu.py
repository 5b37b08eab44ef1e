"""Self-BLEU: how well each response is predicted by the others."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from sacrebleu.metrics.bleu import BLEU

from tofu_eval.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics.base import metric


@metric(
    name="self_bleu",
    level="group",
    direction="lower",
    range=("0", "100"),
    cost="cpu",
    needs=("text",),
    paper="arXiv:1802.01886",
    length_sensitive=True,
)
def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU of each response against the other responses to its prompt.

    Formula: mean over i of BLEU-4(texts[i], references = all texts[j], j != i); sacreBLEU with
        13a tokens, lower case, effective order and exponential smoothing; newline -> space.
    Args:
        texts: the responses, at least two of them not empty.
    Returns: a mean in [0, 100]; 100 = every response has a copy, 0 = no word in common.
    Undefined: fewer than two responses, or fewer than two that have any tokens. An empty
        response among others scores 0, as in sacreBLEU.
    Departs: the paper compares with all generated texts, here only those for the same prompt;
        the flavour of BLEU is that of arXiv:2605.00195.
    """
    need_two(texts)
    bleu = BLEU(tokenize="13a", lowercase=True, effective_order=True)
    lines = [text.replace("\n", " ") for text in texts]
    if sum(bool(bleu.tokenizer(line)) for line in lines) < 2:
        raise MetricInputError("fewer than two responses that are not empty")
    scores = [
        bleu.sentence_score(line, [*lines[:i], *lines[i + 1 :]]).score
        for i, line in enumerate(lines)
    ]
    # A perfect BLEU comes out of exp(log(...)) a few bits above 100.
    return min(100.0, fsum(scores) / len(scores))
