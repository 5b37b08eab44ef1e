"""What only the lab can measure: each metric compares with the exact target distribution.

A prompt's metadata name its topic and its references are that topic's fine-tuning answers. A
valid response chooses one word for each slot of its topic's answer; tail, unseen and collision
are about these words, because most whole sentences are new whatever a model has learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError, TofuEvalError
from tofu_eval.core.types import Prompt
from tofu_eval.lab.world import TARGET, Topic, rare, topic_of, zipf
from tofu_eval.metrics import metric

LAB_METRICS = (
    "lab_validity",
    "lab_tail",
    "lab_unseen",
    "lab_collision",
    "lab_distinct_valid",
)


@metric(
    name="lab_validity",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="",
    measures="quality",
)
def lab_validity(texts: Sequence[str], prompt: Prompt) -> float:
    """Share of responses that are valid answers to the prompt.

    Formula: |valid responses| / n; valid = the grammar can write it for this topic.
    Args:
        texts: the n responses, n >= 1.
        prompt: a prompt of a lab task.
    Returns: a share in [0, 1]; the target has 1.
    Undefined: no responses, or a prompt without a lab topic.
    """
    return len(_valid(texts, _topic(prompt))) / len(texts)


@metric(
    name="lab_tail",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="",
)
def lab_tail(texts: Sequence[str], prompt: Prompt) -> float:
    """How often the responses choose rare words, beside the target.

    Formula: Σ_s (|valid responses with a rare word in slot s| / n) / Σ_s P_target(rare in s);
        rare = beyond the most likely words that hold 80% of the slot's target mass.
    Args:
        texts: the n responses, n >= 1.
        prompt: a prompt of a lab task.
    Returns: a ratio >= 0; 1 = as often as the target, below 1 = the tail is cut.
    Undefined: no responses, or a prompt without a lab topic.
    """
    topic = _topic(prompt)
    return _mass_ratio(texts, topic, [rare(count) for count in topic.shape])


@metric(
    name="lab_unseen",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="",
)
def lab_unseen(texts: Sequence[str], prompt: Prompt) -> float:
    """How often the responses choose valid words that fine-tuning did not show.

    Formula: Σ_s (|valid responses with an unseen word in slot s| / n) / Σ_s P_target(unseen in
        s); unseen = in none of the prompt's references, the topic's fine-tuning answers.
    Args:
        texts: the n responses, n >= 1.
        prompt: a prompt of a lab task.
    Returns: a ratio >= 0; 1 = as often as the target, 0 = nothing but what was shown. Compare at
        a fixed number of references only.
    Undefined: no responses, a prompt without a lab topic or without references, or references
        that show every word.
    """
    topic = _topic(prompt)
    shown = [option for text in prompt.references if (option := topic.parse(text)) is not None]
    if not shown:
        raise MetricInputError("the prompt's topic has no fine-tuning answers")
    ranks = topic.ranks(shown)
    unseen = [~np.isin(np.arange(n), ranks[:, slot]) for slot, n in enumerate(topic.shape)]
    if not any(mask.any() for mask in unseen):
        raise MetricInputError("fine-tuning showed every word")
    return _mass_ratio(texts, topic, unseen)


@metric(
    name="lab_collision",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="",
)
def lab_collision(texts: Sequence[str], prompt: Prompt) -> float:
    """How often two valid responses choose the same word, beside the target.

    Formula: Σ_s [Σ c(c-1) / v(v-1)] / Σ_s Σ P_target²; c = how often each word of slot s occurs
        in the v valid responses. The bracket is unbiased for the probability that two draws
        agree in the slot.
    Args:
        texts: the responses.
        prompt: a prompt of a lab task.
    Returns: a ratio >= 0; 1 = as the target, below 1 = more diverse than the target.
    Undefined: fewer than two valid responses, or a prompt without a lab topic.
    """
    topic = _topic(prompt)
    valid = _valid(texts, topic)
    if len(valid) < 2:
        raise MetricInputError(f"fewer than two valid responses ({len(valid)})")
    pairs = len(valid) * (len(valid) - 1)
    collisions = sum(
        int((counts * (counts - 1)).sum()) / pairs
        for counts in map(np.bincount, topic.ranks(valid).T)
    )
    return collisions / float(sum(np.square(zipf(count, TARGET)).sum() for count in topic.shape))


@metric(
    name="lab_distinct_valid",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="",
)
def lab_distinct_valid(texts: Sequence[str], prompt: Prompt) -> float:
    """Different valid answers a response: diversity that an invalid text cannot buy.

    Formula: |set of valid responses| / n.
    Args:
        texts: the n responses, n >= 1.
        prompt: a prompt of a lab task.
    Returns: a share in [0, 1]. Falls as n grows, so compare at the same n.
    Undefined: no responses, or a prompt without a lab topic.
    """
    return len(set(_valid(texts, _topic(prompt)))) / len(texts)


def _topic(prompt: Prompt) -> Topic:
    if "topic" not in prompt.metadata:
        raise MetricInputError("the prompt has no lab topic")
    try:
        return topic_of(prompt.metadata["topic"])
    except TofuEvalError as error:
        raise MetricInputError("the prompt's topic is none of the lab's") from error


def _mass_ratio(texts: Sequence[str], topic: Topic, chosen: Sequence[NDArray[np.bool_]]) -> float:
    """Mass on the chosen words of each slot, summed over slots: the responses' over the target's.

    An invalid response chooses none. Sums are divided, not slots: a slot with little to choose
    from would otherwise count as much as one with a lot.
    """
    valid = topic.ranks(_valid(texts, topic))
    found = sum(int(mask[valid[:, slot]].sum()) for slot, mask in enumerate(chosen))
    target = sum(float(zipf(len(mask), TARGET)[mask].sum()) for mask in chosen)
    return found / len(texts) / target


def _valid(texts: Sequence[str], topic: Topic) -> list[int]:
    """The options that the valid responses stand for."""
    if not texts:
        raise MetricInputError("no responses")
    return [option for text in texts if (option := topic.parse(text)) is not None]
