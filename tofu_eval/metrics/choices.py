"""Multiple choice by likelihood: is the choice that the model finds most likely the right one?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.errors import MetricInputError
from tofu_eval.metrics.base import metric
from tofu_eval.types import Prompt


def acc(texts: Sequence[str], logprobs: Sequence[float], prompt: Prompt) -> float:
    """Whether the likeliest choice is the right one.

    Formula: [argmax over i of log P(choice i | prompt) is the reference]; of ties, the share.
    Args:
        texts: the n choices in their order, n >= 2: the responses of `scoring: likelihood`.
        logprobs: (n,) log-probability of each after the prompt, nats.
        prompt: its reference is a letter (A is the first choice), or the text of a choice.
    Returns: 1 or 0, between them where choices tie; higher is better. `acc` of
        lm-evaluation-harness.
    Undefined: fewer than two choices, no log-probability, no reference, or one that is no choice.
    """
    return _hit(np.asarray(logprobs, dtype=np.float64), texts, prompt)


def acc_norm(texts: Sequence[str], logprobs: Sequence[float], prompt: Prompt) -> float:
    """Whether the choice that is likeliest for its length is the right one.

    Formula: [argmax over i of log P(choice i | prompt) / characters of choice i is the reference];
        of ties, the share.
    Args:
        texts: the n choices in their order, n >= 2: the responses of `scoring: likelihood`.
        logprobs: (n,) log-probability of each after the prompt, nats.
        prompt: its reference is a letter (A is the first choice), or the text of a choice.
    Returns: 1 or 0, between them where choices tie; higher is better. `acc_norm` of
        lm-evaluation-harness.
    Undefined: fewer than two choices, no log-probability, no reference, or one that is no choice.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    if not lengths.all():
        raise MetricInputError("an empty choice")
    return _hit(np.asarray(logprobs, dtype=np.float64) / lengths, texts, prompt)


for _function in (acc, acc_norm):
    metric(
        name=_function.__name__,
        level="group",
        direction="higher",
        range=("0", "1"),
        cost="cpu",
        needs=("text", "logprob", "prompt"),
        paper="arXiv:2405.14782",
        measures="quality",
        ordered=True,
    )(_function)


def _hit(values: NDArray[np.float64], texts: Sequence[str], prompt: Prompt) -> float:
    if len(texts) < 2:
        raise MetricInputError(f"fewer than two choices ({len(texts)})")
    right = _right(texts, prompt)
    best = np.flatnonzero(values == values.max())
    return float(np.mean(best == right))


def _right(texts: Sequence[str], prompt: Prompt) -> int:
    """The place of the right choice."""
    if not prompt.references:
        raise MetricInputError("the prompt has no references")
    reference = prompt.references[0].strip()
    if reference in texts:
        return list(texts).index(reference)
    letter = re.fullmatch(r"\(?([A-Za-z])\)?\.?", reference)
    place = ord(letter[1].upper()) - ord("A") if letter else len(texts)
    if place >= len(texts):
        raise MetricInputError(f"the reference '{reference:.40}' is none of the choices")
    return place
