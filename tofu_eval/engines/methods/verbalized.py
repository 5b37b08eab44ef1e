"""Verbalized Sampling: several responses with their probabilities in one answer.

Models write the list in many ways, so it is read in many: JSON (a list, or an object a line), tags,
or numbered lines. What cannot be read is no response; nothing is guessed of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tofu_eval.core.types import Message
from tofu_eval.engines.methods.base import Ask, method

AT_ONCE = 5
"""Responses an answer; what the paper uses."""

TEXT_KEYS = ("text", "response", "answer", "content", "output", "completion")
LIST_KEYS = ("responses", "answers", "samples", "candidates", "items", "outputs")
LONGEST = 100_000
"""Characters of an answer that are looked at."""

DEEPEST = 50
"""Brackets within brackets that are followed."""

WISH = (
    "Give {count} different answers to this, drawn from everything that you might say and not only "
    "from what is most likely. Write nothing but a JSON list of {count} objects, each with the "
    '"text" of one whole answer and its "probability", a number from 0 to 1: how likely you '
    "would be to give it."
)
ONE = (
    "Give one answer to this, drawn from everything that you might say and not only from what is "
    'most likely. Write nothing but a JSON list of one object with the "text" of the whole answer '
    'and its "probability", a number from 0 to 1: how likely you would be to give it.'
)


def read_answers(text: str, count: int) -> list[str]:
    """The responses in an answer, at most `count`, in their order; none where none can be read."""
    text = text[:LONGEST]
    for read in (_read_json, _read_tags, _read_lines):
        if found := [one.strip() for one in read(text) if one.strip()]:
            return found[:count]
    return []


@method(
    "verbalized",
    read=read_answers,
    at_once=AT_ONCE,
    overhead=24,
    instructs=True,
    paper="arXiv:2510.01171",
)
def put_verbalized(ask: Ask) -> Sequence[Message]:
    """Ask for several responses with their probabilities in one answer."""
    wish = ONE if ask.count == 1 else WISH.format(count=ask.count)
    return ask.replace_last(f"{ask.asked}\n\n{wish}")


def _read_json(text: str) -> list[str]:
    """The texts of a JSON list or of objects that stand one after the other."""
    found: list[str] = []
    for value in _json_values(text):
        found += _texts_of(value)
    return found


def _json_values(text: str) -> Iterator[Any]:
    """Whatever is whole JSON in a text: lists and objects; of a list that was cut, its items."""
    decoder, place = json.JSONDecoder(strict=False), 0
    failed = 0
    while (start := _next_bracket(text, place)) is not None and failed < DEEPEST:
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            place, failed = start + 1, failed + 1
            continue
        yield value


def _next_bracket(text: str, place: int) -> int | None:
    starts = [at for bracket in "[{" if (at := text.find(bracket, place)) >= 0]
    return min(starts, default=None)


def _texts_of(value: Any) -> list[str]:
    if isinstance(value, list):
        if value and all(isinstance(one, str) for one in value):
            return value
        return [text for one in value if isinstance(one, dict) for text in _texts_of(one)]
    if isinstance(value, dict):
        told = {key.lower(): one for key, one in value.items()}
        for name in TEXT_KEYS:
            if isinstance(told.get(name), str):
                return [told[name]]
        for name in LIST_KEYS:
            if isinstance(told.get(name), list):
                return _texts_of(told[name])
    return []


def _read_tags(text: str) -> list[str]:
    """The texts between <text> and </text>, or those between <response> and </response>."""
    for name in ("text", "response", "answer"):
        opening = re.split(rf"<{name}>", text, flags=re.IGNORECASE)[1:]
        parts = [re.split(rf"</{name}>", part, maxsplit=1, flags=re.I) for part in opening]
        if found := [part[0] for part in parts if len(part) == 2]:
            return [_without_probability(one) for one in found]
    return []


_NUMBERED = re.compile(r"^[ \t]*(?:\*\*)?\(?\d{1,3}[.):][ \t]*(?:\*\*)?[ \t]*(?=\S)", re.MULTILINE)
_PROBABILITY = re.compile(
    r"[\s\-–—,;:(\[|]*(?:\*{0,2}(?:probability|prob\.?|p)\*{0,2}\s*[:=≈]?\s*)?"
    r"[(\[]?(?:0?\.\d{1,6}|[01]\.\d{1,6}|\d{1,3}(?:\.\d{1,4})?\s?%)[)\]]?[\s.]*$",
    re.IGNORECASE,
)
"""A probability at the end of a line: (0.2), - 20 %, Probability: .15"""


def _read_lines(text: str) -> list[str]:
    """The items of a numbered list, of which each ends in a probability or none does."""
    starts = list(_NUMBERED.finditer(text))
    if len(starts) < 2:
        return []
    ends = [*(mark.start() for mark in starts[1:]), len(text)]
    items = [text[mark.end() : end] for mark, end in zip(starts, ends, strict=True)]
    # What follows a blank line after the last item is talk.
    items[-1] = items[-1].partition("\n\n")[0]
    return [_without_probability(item) for item in items]


def _without_probability(text: str) -> str:
    """A text without the probability at its end, and without the quotes around it."""
    text = text.strip()
    end = max(len(text) - 60, 0)
    text = (text[:end] + _PROBABILITY.sub("", text[end:])).strip()
    quoted = len(text) > 1 and (text[0], text[-1]) in (('"', '"'), ("“", "”"))
    return text[1:-1].strip() if quoted else text
