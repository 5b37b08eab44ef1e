"""Divergence of the answers from the distribution that they should have."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tofu_eval.metrics._target import counts
from tofu_eval.metrics.base import FALLS, metric
from tofu_eval.types import Prompt


@metric(
    name="target_kl",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1214/aoms/1177729694",
    measures="quality",
    bias=FALLS,
    least=1,
    identical=None,
    different=None,
)
def target_kl(texts: Sequence[str], prompt: Prompt) -> float:
    """How far the answers are from their target distribution, in nats.

    Formula: KL(p ‖ q) = sum p log(p / q), p the shares of the options among the answers that can be
        read, q the target.
    Args:
        texts: the n responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: nats >= 0; 0 = exactly the target, log(1 / q) = always the same option. Of n answers
        that do follow a target of k options, it is (k - 1) / 2n on average, not 0.
    Undefined: the prompt has no target, or no answer can be read.
    """
    target, found = counts(texts, prompt)
    n = found.total()
    terms = (c / n * math.log(c / n / target[option]) for option, c in found.items())
    return max(0.0, math.fsum(terms))
