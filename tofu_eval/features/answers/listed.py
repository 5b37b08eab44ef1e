"""The verifier `listed`: a question with many right answers, all of which the prompt lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.base import verifier
from tofu_eval.features.answers.find import LONGEST


@verifier(name="listed", version=1, equal=lambda pairs: equal_names(pairs))
def listed(prompt: Prompt, text: str) -> str | None:
    """The reference that is named first in a response, as the prompt's list spells it.

    Whole words without regard to case, also with a plural's s or es; of two that begin at the same
    word the longer. 12 is not named by 12.5. What the prompt's own text names is no answer. None
    where none of the list is named in the first 1,000 characters.
    """
    pattern, spellings = _names(prompt.references, prompt.asked)
    if pattern is None:
        return None
    match = pattern.search(" ".join(text[:LONGEST].casefold().split()))
    return spellings[match.group(1)] if match else None


def equal_names(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether two names are the same without regard to case."""
    return [one.casefold() == other.casefold() for one, other in pairs]


@lru_cache(maxsize=4096)
def _names(
    references: tuple[str, ...], asked: str
) -> tuple[re.Pattern[str] | None, dict[str, str]]:
    """What finds a name, the longest first, and how each is spelled."""
    spellings = {" ".join(name.casefold().split()): name for name in reversed(references)}
    question = " ".join(asked.casefold().split())
    names = sorted((n for n in spellings if n and not _finder([n]).search(question)), key=len)
    return (_finder(names[::-1]) if names else None), spellings


def _finder(names: Sequence[str]) -> re.Pattern[str]:
    return re.compile(
        rf"(?<!\w)(?<!\d[.,])({'|'.join(map(re.escape, names))})(?:e?s)?(?!\w|[.,]\d)"
    )
