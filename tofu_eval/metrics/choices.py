"""Multiple choice by likelihood: is the choice that the model finds most likely the right one?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Prompt
from tofu_eval.metrics.base import metric


def acc(texts: Sequence[str], logprobs: Sequence[float], prompt: Prompt) -> float:
    """Whether the likeliest choice is the right one.

    Formula: [argmax over i of log P(choice i | prompt) is the reference]; of ties, the share.
    Args:
        texts: the n choices in their order, n >= 2: the responses of `scoring: likelihood`.
        logprobs: (n,) log-probability of each after the prompt, nats.
        prompt: its references are letters (A is the first choice) or texts of choices; any counts.
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
        prompt: its references are letters (A is the first choice) or texts of choices; any counts.
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
    )(_function)


def _hit(values: NDArray[np.float64], texts: Sequence[str], prompt: Prompt) -> float:
    if len(texts) < 2:
        raise MetricInputError(f"fewer than two choices ({len(texts)})")
    right = _right(texts, prompt)
    best = np.flatnonzero(values == values.max())
    return float(np.mean([int(place) in right for place in best]))


def _right(texts: Sequence[str], prompt: Prompt) -> set[int]:
    """The places of the right choices: of every reference that is one."""
    if not prompt.references:
        raise MetricInputError("the prompt has no references")
    places = {place for text in prompt.references for place in _place(text.strip(), texts)}
    if not places:
        raise MetricInputError(f"the reference '{prompt.references[0]:.40}' is none of the choices")
    return places


def _place(reference: str, texts: Sequence[str]) -> list[int]:
    if reference in texts:
        return [list(texts).index(reference)]
    letter = re.fullmatch(r"\(?([A-Za-z])\)?\.?", reference)
    place = ord(letter[1].upper()) - ord("A") if letter else len(texts)
    return [place] if place < len(texts) else []
