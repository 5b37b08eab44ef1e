"""A world of prompts and answers whose true distribution is known exactly.

A topic is asked in a few wordings and answered by one sentence with slots. The slots are
independent, each filled by a Zipf law over its words, and no two fillings make the same sentence.
So every answer has an exact probability, and entropy, collision and tail are sums, not estimates.

An *option* is a valid answer of a topic, named by a whole number: the flat index (C order) of its
slots' ranks. The target is what fine-tuning should teach; pretraining text has the same options in
the same order and is much flatter. A slot's *tail* are the words beyond 80% of its target mass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import digest
from tofu_eval.lab import words

Floats = NDArray[np.float64]

VERSION = 1
"""Raised whenever a word, a wording or a probability changes."""

TARGET = 1.3
"""Zipf exponent of the target."""

PRETRAINING = 0.4
"""Zipf exponent of the pretraining text."""

HEAD = 0.8
"""Share of a slot's target mass that its most likely words hold; the rest are its tail."""


def zipf(count: int, exponent: float) -> Floats:
    """Probability of each rank, (count,): proportional to 1 / rank^exponent."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    mass: Floats = weights / weights.sum()
    return mass


@cache
def joint(shape: tuple[int, ...], exponent: float) -> Floats:
    """Probability of each option of independent Zipf slots of these sizes, (options,)."""
    return product([zipf(count, exponent) for count in shape])


def product(slots: Sequence[Floats]) -> Floats:
    """Joint probability of independent slots, flat in C order; read-only, since it is shared."""
    mass = np.ones(1)
    for slot in slots:
        mass = np.multiply.outer(mass, slot).ravel()
    mass.flags.writeable = False
    return mass


@cache
def rare(count: int) -> NDArray[np.bool_]:
    """Which words of a slot lie beyond the first 80% of its target mass, (count,)."""
    mass = zipf(count, TARGET)
    beyond: NDArray[np.bool_] = np.cumsum(mass) - mass >= HEAD
    beyond.flags.writeable = False
    return beyond


@dataclass(frozen=True)
class Topic:
    """One thing to ask about: its wordings, its answer's template and the slots' words."""

    family: str
    word: str
    held_out: bool
    wordings: tuple[str, ...]
    answer: str
    slots: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """`family-word`, unique in the world."""
        return f"{self.family}-{self.word}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Words per slot."""
        return tuple(len(slot) for slot in self.slots)

    def mass(self, exponent: float = TARGET) -> Floats:
        """Exact probability of each option, (options,), sum 1."""
        return joint(self.shape, exponent)

    def ranks(self, options: Sequence[int]) -> NDArray[np.int64]:
        """The word that each option chooses for each slot, by rank, (len(options), slots)."""
        indices = np.unravel_index(np.asarray(options, dtype=np.int64), self.shape)
        return np.stack(indices, axis=1)

    def text(self, option: int) -> str:
        """The answer that an option stands for."""
        ranks = np.unravel_index(option, self.shape)
        filled = [slot[rank] for slot, rank in zip(self.slots, ranks, strict=True)]
        return self.answer.format(*filled, topic=self.word)

    def parse(self, text: str) -> int | None:
        """The option that `text` is, or None where it is no valid answer to this topic.

        Spaces around the text do not matter; everything else must be exact.
        """
        words = text.strip().split(" ")
        if len(words) != len(self._pattern):
            return None
        ranks = []
        for place, slot in zip(self._places, self._ranks, strict=True):
            rank = slot.get(words[place].rstrip(".,"))
            if rank is None:
                return None
            ranks.append(rank)
        option = int(np.ravel_multi_index(ranks, self.shape))
        return option if self.text(option) == text.strip() else None

    def draw(self, uniforms: Floats, exponent: float = TARGET) -> NDArray[np.int64]:
        """Options for uniforms in [0, 1), one each."""
        return pick(self.mass(exponent), uniforms)

    @cached_property
    def _pattern(self) -> list[str]:
        return self.answer.split(" ")

    @cached_property
    def _places(self) -> list[int]:
        """Where the slots stand among the answer's words."""
        starts = [f"{{{number}}}" for number in range(len(self.slots))]
        return [
            next(place for place, word in enumerate(self._pattern) if word.startswith(start))
            for start in starts
        ]

    @cached_property
    def _ranks(self) -> list[dict[str, int]]:
        return [{word: rank for rank, word in enumerate(slot)} for slot in self.slots]


def pick(mass: Floats, uniforms: Floats) -> NDArray[np.int64]:
    """Inverse distribution function: the first option whose cumulated mass exceeds the uniform."""
    edges = np.cumsum(mass)
    # Scaled, because rounding can leave the last edge just below 1.
    found = np.searchsorted(edges, uniforms * edges[-1], side="right")
    options: NDArray[np.int64] = np.minimum(found, len(mass) - 1)
    return options


def _family(
    family: str,
    wordings: tuple[str, ...],
    answer: str,
    topics: Sequence[tuple[str, tuple[str, ...]]],
) -> list[Topic]:
    """The topics of a family, each a word and its slots."""
    seen = len(topics) - words.HELD_OUT[family]
    return [
        Topic(
            family,
            word,
            number >= seen,
            tuple(wording.format(topic=word) for wording in wordings),
            answer,
            tuple(tuple(slot.split()) for slot in slots),
        )
        for number, (word, slots) in enumerate(topics)
    ]


def _topics_of_slots(topics: str, slots: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Topics that share their slots, so that what is learnt of one can carry to another."""
    return [(word, slots) for word in topics.split()]


TOPICS: tuple[Topic, ...] = (
    *_family(
        "name",
        words.NAME_WORDINGS,
        words.NAME_ANSWER,
        [(word, (items,)) for word, items in words.NAME_ITEMS.items()],
    ),
    *_family(
        "poem",
        words.POEM_WORDINGS,
        words.POEM_ANSWER,
        _topics_of_slots(words.POEM_TOPICS, words.POEM_SLOTS),
    ),
    *_family(
        "story",
        words.STORY_WORDINGS,
        words.STORY_ANSWER,
        _topics_of_slots(words.STORY_TOPICS, words.STORY_SLOTS),
    ),
    *_family(
        "advice",
        words.ADVICE_WORDINGS,
        words.ADVICE_ANSWER,
        _topics_of_slots(words.ADVICE_TOPICS, words.ADVICE_SLOTS),
    ),
)
"""Every topic of the world, by family, the held-out ones last in each."""

SEEN = tuple(topic for topic in TOPICS if not topic.held_out)
HELD_OUT = tuple(topic for topic in TOPICS if topic.held_out)
FAMILIES = tuple(dict.fromkeys(topic.family for topic in TOPICS))

_BY_NAME = {topic.name: topic for topic in TOPICS}


def topic_of(name: str) -> Topic:
    """The topic of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _BY_NAME:
        raise ConfigError(f"The lab has no topic '{name}'. Look: tofu-eval tasks show lab")
    return _BY_NAME[name]


def identity() -> dict[str, str | int]:
    """Which world this is: its version and the digest of its words and probabilities."""
    content = [
        [t.name, t.held_out, t.wordings, t.answer, t.slots, TARGET, PRETRAINING] for t in TOPICS
    ]
    return {"kind": "lab-world", "version": VERSION, "digest": digest(content)}
