"""The verifier `letter`: the label behind the first "Answer:" of a response."""

from __future__ import annotations

import re

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.base import verifier

_FIRST = re.compile(r"Answer:\s*([A-Z]|\d+)")


@verifier(name="letter", version=1, equal=lambda pairs: [one == other for one, other in pairs])
def letter(prompt: Prompt, text: str) -> str | None:
    """The capital letter or number behind the first "Answer:"; None where there is none.

    As arXiv:2605.00195 reads answers; a second thought does not count.
    """
    match = _FIRST.search(text)
    return match[1] if match else None
