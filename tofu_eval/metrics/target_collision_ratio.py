"""How often two answers agree, beside how often they should."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tofu_eval.errors import MetricInputError
from tofu_eval.metrics._target import counts
from tofu_eval.metrics.base import metric
from tofu_eval.types import Prompt


@metric(
    name="target_collision_ratio",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1038/163688a0",
    measures="quality",
    identical=None,
    different=None,
)
def target_collision_ratio(texts: Sequence[str], prompt: Prompt) -> float:
    """How often two answers agree, over how often two draws from their target would.

    Formula: [sum c (c - 1) / (n (n - 1))] / sum q^2, c how often each option was named among the n
        answers that can be read, q the target: unbiased, whatever n is.
    Args:
        texts: the responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: a ratio >= 0; 1 = as random as it should be, above 1 = narrower. Which options are
        named does not matter here, only how often two are the same.
    Undefined: the prompt has no target, or fewer than two answers can be read.
    """
    target, found = counts(texts, prompt)
    n = found.total()
    if n < 2:
        raise MetricInputError(f"fewer than two answers that can be read ({n})")
    agree = sum(c * (c - 1) for c in found.values()) / (n * (n - 1))
    return agree / math.fsum(q * q for q in target.values())
