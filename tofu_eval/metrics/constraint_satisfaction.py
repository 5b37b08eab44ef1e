"""Constraints on length: does a response have as many sentences and words as was asked for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.scripts import split_words
from tofu_eval.core.types import Prompt
from tofu_eval.metrics.base import metric

Unit = Literal["sentences", "words"]

TOLERANCE = 0.1
""""About 100 words" is 90 to 110."""

_UP_TO_TWELVE = (
    *("one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
NUMERALS = {
    **{word: number for number, word in enumerate(_UP_TO_TWELVE, start=1)},
    **{"a": 1, "an": 1, "single": 1, "fifteen": 15, "twenty": 20, "fifty": 50, "hundred": 100},
}
_NUMBER = rf"(\d{{1,5}}|{'|'.join(NUMERALS)})"
_UNIT = r"[- ]?(sentences?|words?)\b"
_RANGE = re.compile(
    rf"\b(?:between\s+)?{_NUMBER}\s*(?:-|–|to|and)\s*{_NUMBER}\s*{_UNIT}", re.IGNORECASE
)
_LIMIT = re.compile(
    rf"(?:\b(?P<most>at most|no more than|up to|maximum of|max(?:imum)?\.?|not exceed(?:ing)?|"
    rf"under|below|less than|fewer than|within)|\b(?P<least>at least|no less than|no fewer than|"
    rf"minimum of|min(?:imum)?\.?|more than|over)|\b(?P<about>about|around|approximately|roughly|"
    rf"some)|\b(?P<exact>exactly|in|of|with|using|only|just|write|a|an|the|by)|)"
    rf"[ ]*\b{_NUMBER}\s*{_UNIT}(?P<after>\s+or\s+(?:less|fewer|more))?",
    re.IGNORECASE,
)
_STRICT = re.compile(r"(?:under|below|less than|fewer than|more than|over)", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]++[\"'”’)\]]*+(?=\s|$)|[。！？｡．។၊။]++[\"'”’)\]」』）]*+|\n+"
)
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|No|[A-Z])\.")


@dataclass(frozen=True)
class Constraint:
    """From `least` to `most` of a unit, both included; None where there is no bound."""

    unit: Unit
    least: int | None
    most: int | None

    def holds(self, text: str) -> bool:
        """Whether a text keeps it."""
        n = count_words(text) if self.unit == "words" else count_sentences(text)
        return (self.least is None or n >= self.least) and (self.most is None or n <= self.most)


@metric(
    name="constraint_satisfaction",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="arXiv:2311.07911",
    measures="quality",
)
def constraint_satisfaction(texts: Sequence[str], prompt: Prompt) -> float:
    """Share of responses that keep all that the prompt asks of their length.

    Formula: (1/n) sum of [response i keeps every constraint of the prompt].
    Args:
        texts: the n responses, n >= 1.
        prompt: its metadata `min_words`, `max_words`, `min_sentences`, `max_sentences` are the
            constraints; without these, what its last message says: "in three sentences", "at most
            50 words", "100-150 words", "about 200 words" (a tenth more or less).
    Returns: a share in [0, 1]; higher is better.
    Undefined: no responses, or a prompt that asks for no number of sentences or words.
    """
    if not texts:
        raise MetricInputError("no responses")
    wanted = constraints(prompt)
    if not wanted:
        raise MetricInputError("the prompt asks for no number of sentences or words")
    return float(np.mean([all(one.holds(text) for one in wanted) for text in texts]))


def constraints(prompt: Prompt) -> list[Constraint]:
    """What a prompt asks: of its metadata, else as its last message says."""
    told = [_read_bounds(prompt, unit) for unit in ("sentences", "words")]
    found = [one for one in told if one is not None]
    if found or not prompt.messages:
        return found
    return parse(prompt.messages[-1].content)


def parse(text: str) -> list[Constraint]:
    """The constraints that a text names; of two on one unit, the last."""
    by_unit: dict[Unit, Constraint] = {}
    ranges = list(_RANGE.finditer(text))
    for match in ranges:
        unit = _unit(match[3])
        by_unit[unit] = Constraint(unit, *sorted((_number(match[1]), _number(match[2]))))
    spans = [match.span() for match in ranges]
    for match in _LIMIT.finditer(text):
        if any(start < match.end() and match.start() < end for start, end in spans):
            continue
        made = _limit(match)
        if made is not None:
            by_unit[made.unit] = made
    return list(by_unit.values())


def count_words(text: str) -> int:
    """Words that have a letter or a digit; characters where a script has no spaces."""
    return sum(any(c.isalnum() for c in word) for word in split_words(text))


def count_sentences(text: str) -> int:
    """Parts with a letter or a digit that end with . ! ? … or another script's mark of a sentence's
    end, or with a line; "Dr. No" is one.
    """
    plain = _ABBREVIATION.sub(lambda match: match.group()[:-1], text)
    return sum(any(c.isalnum() for c in part) for part in _SENTENCE_END.split(plain))


def _limit(match: re.Match[str]) -> Constraint | None:
    number, unit = _number(match[5]), _unit(match[6])
    strict = _STRICT.fullmatch((match["most"] or match["least"] or "").strip()) is not None
    after = (match["after"] or "").split()
    if match["most"] or after[-1:] in (["less"], ["fewer"]):
        return Constraint(unit, None, number - strict)
    if match["least"] or after[-1:] == ["more"]:
        return Constraint(unit, number + strict, None)
    if match["about"]:
        slack = round(number * TOLERANCE)
        return Constraint(unit, number - slack, number + slack)
    if match[5].lower() in ("a", "an") or (number == 1 and not match["exact"]):
        return None  # "a word about cats" asks for no number
    if match["exact"] is None and match[6].lower() in ("word", "words") and number < 10:
        return None  # "two words that rhyme" are not the response
    return Constraint(unit, number, number)


def _read_bounds(prompt: Prompt, unit: Unit) -> Constraint | None:
    bounds = []
    for bound in ("min", "max"):
        value = prompt.metadata.get(f"{bound}_{unit}")
        if value is not None and not re.fullmatch(r"\d+", value):
            raise MetricInputError(f"the prompt's {bound}_{unit} is '{value}', no whole number")
        bounds.append(None if value is None else int(value))
    return None if bounds == [None, None] else Constraint(unit, *bounds)


def _number(text: str) -> int:
    return NUMERALS.get(text.lower()) or int(text)


def _unit(text: str) -> Unit:
    return "sentences" if text.lower().startswith("sentence") else "words"
