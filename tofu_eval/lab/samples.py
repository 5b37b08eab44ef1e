"""The lab's random numbers, one named stream a purpose, and the fine-tuning answers they give.

Light: the task needs the answers (a metric asks which are unseen), the trainer their texts.
"""

from __future__ import annotations

import numpy as np

from tofu_eval.lab.world import TOPICS, Topic

SAMPLES = 24
"""Fine-tuning answers a topic."""

STREAMS = ("pretraining", "gate", "answers", "wordings", "order", "target", "text")


def stream(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """A generator of its own for each seed, purpose and number."""
    return np.random.default_rng([seed, STREAMS.index(purpose), number])


def sft_options(seed: int, topic: Topic, samples: int = SAMPLES) -> list[int]:
    """The options of a topic that a seed's fine-tuning data holds, repeats and all."""
    rng = stream(seed, "answers", TOPICS.index(topic))
    return [int(option) for option in topic.draw(rng.random(samples))]
