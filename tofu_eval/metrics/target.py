"""Divergence of the answers from the distribution that they should have."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Prompt
from tofu_eval.metrics.base import FALLS, metric


@metric(
    name="target_kl",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1214/aoms/1177729694",
    measures="quality",
    bias=FALLS,
)
def target_kl(texts: Sequence[str], prompt: Prompt) -> float:
    """How far the answers are from their target distribution, in nats.

    Formula: KL(p ‖ q) = sum p log(p / q), p the shares of the options among the answers that can be
        read, q the target.
    Args:
        texts: the n responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: nats >= 0; 0 = exactly the target, log(1 / q) = always the same option. Of n answers
        that do follow a target of k options, it is (k - 1) / 2n on average, not 0.
    Undefined: the prompt has no target, or no answer can be read.
    """
    target, found = counts(texts, prompt)
    n = found.total()
    terms = (c / n * math.log(c / n / target[option]) for option, c in found.items())
    return max(0.0, math.fsum(terms))


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
    counted = Counter(answer for answer in answers(texts, target) if answer is not None)
    if not counted:
        raise MetricInputError(f"none of {len(texts)} responses names one of the options")
    return target, counted


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


@metric(
    name="target_collision_ratio",
    level="group",
    direction="lower",
    range=("0", "inf"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1038/163688a0",
    measures="quality",
)
def target_collision_ratio(texts: Sequence[str], prompt: Prompt) -> float:
    """How often two answers agree, over how often two draws from their target would.

    Formula: [sum c (c - 1) / (n (n - 1))] / sum q^2, c how often each option was named among the n
        answers that can be read, q the target: unbiased, whatever n is.
    Args:
        texts: the responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: a ratio >= 0; 1 = as random as it should be, above 1 = narrower. Which options are
        named does not matter here, only how often two are the same.
    Undefined: the prompt has no target, or fewer than two answers can be read.
    """
    target, counted = counts(texts, prompt)
    n = counted.total()
    if n < 2:
        raise MetricInputError(f"fewer than two answers that can be read ({n})")
    agree = sum(c * (c - 1) for c in counted.values()) / (n * (n - 1))
    return agree / math.fsum(q * q for q in target.values())


@metric(
    name="target_total_variation",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="doi:10.1002/0471200611",
    measures="quality",
    bias=FALLS,
)
def target_total_variation(texts: Sequence[str], prompt: Prompt) -> float:
    """The share of answers that would have to change to follow their target distribution.

    Formula: sum |p - q| / 2 over the options, p their shares among the answers that can be read, q
        the target.
    Args:
        texts: the n responses; `metrics/_target.py` says how an answer is read.
        prompt: its `metadata.target` is a JSON object, option to probability, all above 0.
    Returns: a share in [0, 1); 0 = exactly the target. Of few answers it is above 0 by chance.
    Undefined: the prompt has no target, or no answer can be read.
    """
    target, found = counts(texts, prompt)
    n = found.total()
    return math.fsum(abs(found[option] / n - q) for option, q in target.items()) / 2


@metric(
    name="target_unparsable_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="cpu",
    needs=("text", "prompt"),
    paper="arXiv:2404.10859",
    measures="quality",
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
