r"""The verifier `choice`: the letter that a response to a multiple-choice question settles on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.base import verifier
from tofu_eval.features.answers.find import find_boxed

_LETTER = re.compile(r"\W*(?:\\(?:text|textbf|mathrm|mathbf)\{)?\W*([A-Za-z])[\W_]*")
_SAID = re.compile(
    r"\b(?:[Aa]nswer|ANSWER|[Oo]ption|[Cc]hoice)\b[^.\n]{0,40}?(?:\bis\b|:)[\s*_:]*+"
    r"(?:\boption\s+|\bchoice\s+)?(?:\(([A-Ja-j])\)|([A-J])(?![\w'’]))"
)
_OPENING = re.compile(r"[\s*_\"']*(?:\(([A-Ja-j])\)|([A-J])(?:[.):,*]|\s*$|\s*\n))")
_PARENTHESES = re.compile(r"\(([A-J])\)")
_LINE = re.compile(r"^[ \t*_]*([A-J])[ \t*_.)]*$", re.MULTILINE)


@verifier(name="choice", version=1, equal=lambda pairs: equal_letters(pairs))
def choice(prompt: Prompt, text: str) -> str | None:
    r"""The letter of the choice, from A to J; None where there is none.

    The first of these that the text has:

    1. the last `\boxed{B}`, also `\boxed{\text{(B)}}`;
    2. the last "answer is (B)", "Answer: B", "option is B" or the like;
    3. a letter that the text begins with, alone on its line, in parentheses, or before one of
       `. ) : ,` ("B. Paris"; not "A cat");
    4. the last "(B)";
    5. the last line that is a letter.
    """
    in_box = find_boxed(text)
    if in_box is not None and len(in_box) < 40 and (match := _LETTER.fullmatch(in_box)):
        return match[1].upper()
    for match in reversed(list(_SAID.finditer(text))):
        return (match[1] or match[2]).upper()
    if match := _OPENING.match(text):
        return (match[1] or match[2]).upper()
    for pattern in (_PARENTHESES, _LINE):
        if letters := pattern.findall(text):
            return str(letters[-1])
    return None


def equal_letters(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether a letter is the reference's, which may stand in parentheses or before its text."""
    return [one == _letter(other) for one, other in pairs]


def _letter(reference: str) -> str:
    match = re.match(r"\W*([A-Za-z])(?:\W|$)", reference)
    return match[1].upper() if match else reference.strip()
