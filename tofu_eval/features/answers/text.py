"""The verifier `text`: a short answer in words, compared without case, punctuation, articles."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.base import verifier
from tofu_eval.features.answers.find import LONGEST, find_boxed, find_said


@verifier(name="text", version=1, equal=lambda pairs: equal_words(pairs))
def text(prompt: Prompt, text: str) -> str | None:
    r"""The last `\boxed{…}`, else what follows the last "answer is" or "answer:", else all.

    None where that is empty or longer than 1,000 characters.
    """
    answer = find_boxed(text)
    answer = find_said(text) if answer is None else answer
    answer = (text if answer is None else answer).strip()
    return answer if 0 < len(answer) <= LONGEST else None


def equal_words(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether two texts have the same words, as SQuAD compares them (arXiv:1606.05250)."""
    return [_words(one) == _words(other) for one, other in pairs]


def _words(text: str) -> list[str]:
    return [
        word
        for word in re.sub(r"[^\w\s]", "", text.casefold()).split()
        if word not in ("a", "an", "the")
    ]
