"""Answers against the distribution that they should have: `metadata.target` of a prompt.

An answer is read so. Upper and lower case count as the same, and so do compatible characters
(full width, superscripts). An option stands in a text as a whole word or number: not inside a
longer word, not as a part of 3.5, -3 or 1,000; numbers up to twenty also as English words. The
first line that is not empty decides if exactly one option stands in it; else the whole response
does, if exactly one stands there. What names none or several cannot be read.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from tofu_eval.errors import MetricInputError
from tofu_eval.types import Prompt

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
"""The English words of the whole numbers from 0."""

LONGEST = 4096
"""Characters of a response that are read."""


def target_of(prompt: Prompt) -> dict[str, float]:
    """The probability of each option, which a folded text names.

    Raises:
        MetricInputError: the prompt has none, or what it has is not a distribution.
    """
    if "target" not in prompt.metadata:
        raise MetricInputError("the prompt has no target distribution")
    try:
        target = {_fold(str(k)): float(v) for k, v in json.loads(prompt.metadata["target"]).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MetricInputError("the prompt's target is not a JSON object of numbers") from error
    sound = all(math.isfinite(p) and p > 0 for p in target.values())
    if not sound or not math.isclose(math.fsum(target.values()), 1.0, abs_tol=1e-6):
        raise MetricInputError("the prompt's target is not a distribution: it must be > 0, sum 1")
    return target


def answers(texts: Sequence[str], target: dict[str, float]) -> list[str | None]:
    """The option that each text names, None where it cannot be read."""
    pattern = _pattern(tuple(target))
    return [_answer(text, pattern) for text in texts]


def counts(texts: Sequence[str], prompt: Prompt) -> tuple[dict[str, float], Counter[str]]:
    """The target, and how often each option was named.

    Raises:
        MetricInputError: the prompt has no target, or no response could be read.
    """
    target = target_of(prompt)
    found = Counter(answer for answer in answers(texts, target) if answer is not None)
    if not found:
        raise MetricInputError(f"none of {len(texts)} responses names one of the options")
    return target, found


def _answer(text: str, pattern: re.Pattern[str]) -> str | None:
    text = _fold(text[:LONGEST])
    first = next((line for line in text.splitlines() if line.strip()), "")
    for part in (first, text):
        named = {_canonical(match) for match in pattern.findall(part)}
        if len(named) == 1:
            return named.pop()
    return None


@lru_cache(maxsize=256)
def _pattern(options: tuple[str, ...]) -> re.Pattern[str]:
    """Any option as a whole word; the longest first, so that "new york" is not "york"."""
    written = [word for option in options for word in _written(option)]
    numbers = [word for word in written if word[-1:].isdigit()]
    words = [word for word in written if word not in numbers]
    return re.compile(
        rf"(?<![\w.,\-−])(?:{_any_of(numbers)})(?!\w|[.,]\d)"
        rf"|(?<!\w)(?<!\w[-'’])(?:{_any_of(words)})(?!\w|-\w)"
    )


def _any_of(words: Sequence[str]) -> str:
    """A pattern of any of the words; of none it matches nothing."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"


def _written(option: str) -> tuple[str, ...]:
    number = int(option) if option.isascii() and option.isdigit() else len(NUMBERS)
    return (option, NUMBERS[number]) if number < len(NUMBERS) else (option,)


def _canonical(word: str) -> str:
    return str(NUMBERS.index(word)) if word in NUMBERS else word


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()
