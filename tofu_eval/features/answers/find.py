"""The final answer in a response, by fixed rules that take linear time whatever the text is."""

from __future__ import annotations

import re

LONGEST = 1000
"""Characters of an answer; what is longer is no answer."""

UNWRAPPED = 10
"""Boxes in boxes that are opened."""

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed[ \t]+([^\s$\\{}]{1,50})")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_SAID = re.compile(
    r"\banswer\b[^.\n:=]{0,60}?(?:\bis\b|\bare\b|\bwould be\b|[:=])(?:[ \t]*:)?", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![\w.)\]}])-?(?:\\?\$)?-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s?/\s?\d+)?(?:\s?\\?%)?"
)
_DRESS = " \t\r\n*_`\"'“”‘’"
"""Markdown's emphasis and quotation marks around an answer."""


def final_answer(text: str) -> str | None:
    r"""The final answer of a response to a mathematical problem; None where there is none.

    The first of these that the text has:

    1. the last `\boxed{…}` or `\fbox{…}` whose braces balance, boxes inside it opened too, or else
       the last `\boxed x`;
    2. what follows the last `####` on its line (GSM8K);
    3. what follows the last "answer is", "answer:" or the like: a formula between dollars, `\(\)`
       or `\[\]`, or else the text up to the end of its sentence;
    4. the last number, with its sign, separators, fraction bar and per cent sign.

    An answer of more than LONGEST characters is None.
    """
    for rule in (find_boxed, _after_hashes, find_said, last_number):
        answer = rule(text)
        if answer is not None:
            answer = answer.strip(_DRESS)
            return answer if 0 < len(answer) <= LONGEST else None
    return None


def marked_answer(text: str) -> str | None:
    """What rules 1 and 2 of `final_answer` find: an answer that the text marks as such."""
    found = find_boxed(text)
    return found if found is not None else _after_hashes(text)


def find_boxed(text: str) -> str | None:
    """The content of the last box that is closed; one pass, whatever the nesting."""
    content = _last_box(text)
    if content is None:
        bare = [match[1] for match in _BARE_BOX.finditer(text)]
        return bare[-1] if bare else None
    for _ in range(UNWRAPPED):
        inner = content.strip()
        # Only a box that is the whole content: "\boxed{x = \boxed{5}}" is opened as well.
        deeper = _last_box(inner) if "\\boxed" in inner or "\\fbox" in inner else None
        if deeper is None:
            break
        content = deeper
    return content


def _last_box(text: str) -> str | None:
    """One pass over the braces, with a stack of those that are open."""
    opened: list[int | None] = []
    last: tuple[int, int] | None = None
    for match in _BRACE.finditer(text):
        brace = match.group()
        if brace == "}":
            start = opened.pop() if opened else None
            if start is not None:
                last = (start, match.start())
        elif brace[-1] == "{" and len(brace) != 2:
            opened.append(match.end() if len(brace) > 2 else None)
    return None if last is None else text[last[0] : last[1]]


def _after_hashes(text: str) -> str | None:
    last = text.rfind("####")
    if last < 0:
        return None
    match = _HASHES.match(text, last)
    return match[1] if match and match[1].strip() else None


def find_said(text: str) -> str | None:
    """What follows the last "answer is" or the like; None where nothing does."""
    for match in reversed(list(_SAID.finditer(text))):
        rest = text[match.end() : match.end() + 2 * LONGEST].lstrip(_DRESS + ":")
        if rest:
            return _first_of(rest)
    return None


def _first_of(rest: str) -> str:
    """The formula that a text begins with, else its first sentence or the formula in it."""
    formula = _MATH.match(rest)
    if formula is None:
        line = rest.partition("\n")[0]
        end = _SENTENCE_END.search(line)
        sentence = line[: end.start()] if end else line
        formulas = list(_MATH.finditer(sentence))
        if not formulas:
            return sentence
        formula = formulas[-1]
    return next(part for part in formula.groups() if part is not None)


def last_number(text: str) -> str | None:
    """The last number of a text."""
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return last.group().rstrip(",") if last else None
