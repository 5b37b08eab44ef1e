"""A judge without a model: it reads the response out of the rubric, and counts its words."""

import re
from collections.abc import Sequence

from tofu_eval import judge

RESPONSE = re.compile(r"<response-(\w+)>\n(.*)\n</response-\1>", re.DOTALL)


@judge(name="counts-words")
def counts_words(questions: Sequence[str], repeat: int = 0) -> list[str]:
    """One point a word, 5 at most; every second asking is a point kinder; silence on no words."""
    return [_judgement(question, repeat) for question in questions]


def _judgement(question: str, repeat: int) -> str:
    words = len(re.findall(r"\w+", RESPONSE.search(question)[2]))
    if not words:
        return "There is nothing to rate."
    return f"It has {words} words.\n\nRating: {min(words + repeat % 2, 5)}"


@judge(name="breaks")
def breaks(questions: Sequence[str]) -> list[str]:
    return ["Rating: 5"]  # one answer, whatever was asked
