"""Answers to a random choice that name no option, or several."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.errors import MetricInputError
from tofu_eval.metrics._target import answers, target_of
from tofu_eval.metrics.base import metric
from tofu_eval.types import Prompt


@metric(
    name="target_unparsable_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="arXiv:2404.10859",
    measures="quality",
    least=1,
    identical=None,
    different=None,
)
def target_unparsable_rate(texts: Sequence[str], prompt: Prompt) -> float:
    """The share of responses that the other target metrics leave out.

    Formula: responses that name no option or several / n.
    Args:
        texts: the n responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: a share in [0, 1]; 0 = every answer can be read.
    Undefined: no responses, or the prompt has no target.
    """
    target = target_of(prompt)
    if not texts:
        raise MetricInputError("no responses")
    return sum(answer is None for answer in answers(texts, target)) / len(texts)
