"""Total variation between the answers and the distribution that they should have."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tofu_eval.metrics._target import counts
from tofu_eval.metrics.base import FALLS, metric
from tofu_eval.types import Prompt


@metric(
    name="target_total_variation",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1002/0471200611",
    measures="quality",
    bias=FALLS,
    least=1,
    identical=None,
    different=None,
)
def target_total_variation(texts: Sequence[str], prompt: Prompt) -> float:
    """The share of answers that would have to change to follow their target distribution.

    Formula: sum |p - q| / 2 over the options, p their shares among the answers that can be read, q
        the target.
    Args:
        texts: the n responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: a share in [0, 1); 0 = exactly the target. Of few answers it is above 0 by chance.
    Undefined: the prompt has no target, or no answer can be read.
    """
    target, found = counts(texts, prompt)
    n = found.total()
    return math.fsum(abs(found[option] / n - q) for option, q in target.items()) / 2
