"""The distribution that the answers to a prompt should have, as a task file writes it."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import PydanticCustomError

TARGET = "target"
"""The metadata field that holds it: a JSON object, a probability for each answer."""

LARGEST = 1000
"""Answers of a range."""

_RANGE = re.compile(r"(-?\d{1,9})\.\.(-?\d{1,9})")
_WHAT = (
    f"must be a range of at most {LARGEST} whole numbers such as 1..100, a list of different "
    "answers, each as likely, or a mapping of at least two answers to weights above 0"
)


def target_of(value: Any) -> dict[str, float]:
    """Probabilities by answer, from `1..6`, `[heads, tails]` or `{heads: 3, tails: 1}`.

    Raises:
        PydanticCustomError: it is none of these.
    """
    if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
        numbers = range(int(match[1]), int(match[2]) + 1)
        value = list(map(str, numbers)) if len(numbers) <= LARGEST else []
    if isinstance(value, list):
        if not all(isinstance(answer, str | int) for answer in value):
            raise PydanticCustomError("target", _WHAT)
        value = {str(answer): 1.0 for answer in value} if len(set(value)) == len(value) else {}
    if not isinstance(value, dict) or len(value) < 2 or not all(map(_weight, value.values())):
        raise PydanticCustomError("target", _WHAT)
    total = math.fsum(value.values())
    return {answer: weight / total for answer, weight in value.items()}


def _weight(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0
