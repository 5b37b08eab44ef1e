"""A server's answer, checked where it enters: what it sends is not what its interface promises.

Repaired is what has one meaning: a half surrogate, content in parts, a thought in a field of its
own. Dropped, with a remark, is what cannot be: token ids, log-probabilities, a finish reason that
is no word. What is no answer at all is `Malformed`; an error in the body of a 200 is `Refused`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tofu_eval.core.escape import printable
from tofu_eval.core.servers import Malformed, Refused, parse_json

LEAST_LOGPROB = -1000.0
"""Nats. No sampled token is less likely; servers write -9999 where they do not know."""

LARGEST_ID = 2**31 - 1
LONGEST_REASON = 40
"""Characters of a finish reason."""

DEEPEST = 8
"""Levels of content parts inside content parts."""

PART_TEXTS = ("text", "thinking", "reasoning", "content")
"""Fields of a content part that hold its text."""

THOUGHTS = ("reasoning_content", "reasoning")
"""Fields of a message that hold a thought."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One response of an answer; None is what the server did not say, or what could not be."""

    text: str | None
    reasoning: str | None
    finish_reason: str | None
    token_ids: tuple[int, ...] | None
    logprob: float | None
    text_offset: tuple[int, ...] = ()
    token_logprobs: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is used of an answer; `remarks` say what was repaired or dropped."""

    choices: tuple[Choice, ...]
    fingerprint: str | None = None
    prompt_ids: tuple[int, ...] = ()
    remarks: frozenset[str] = frozenset()


def read_answer(body: bytes, *, chat: bool) -> Answer:
    """The answer in a body.

    Args:
        body: JSON, unpacked.
        chat: whether /chat/completions was asked, or /completions.

    Raises:
        Malformed: it is no completion.
        Refused: it is an error.
    """
    answer = parse_json(body)
    if not isinstance(answer, dict):
        raise Malformed(f"no completion, but {_show(answer)}")
    choices = answer.get("choices")
    if not choices and (error := answer.get("error")):
        raise _refusal(error)
    if not isinstance(choices, list) or not choices:
        raise Malformed(f"a completion whose choices are {_show(choices)}")
    remarks: set[str] = set()
    rows = tuple(_choice(choice, chat, remarks) for choice in choices)
    fingerprint = answer.get("system_fingerprint")
    first = choices[0]
    prompt_ids = _ids(answer.get("prompt_token_ids", first.get("prompt_token_ids")), set())
    return Answer(
        rows,
        printable(fingerprint)[:100] if isinstance(fingerprint, str) else None,
        prompt_ids or (),
        frozenset(remarks),
    )


def repair(text: str) -> str:
    """The text with pairs of surrogates as the characters that they mean, half ones as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _refusal(error: object) -> Refused:
    """An error that came with a 200; its code is an HTTP status where it looks like one."""
    if not isinstance(error, dict):
        return Refused(400, _show(error))
    code = error.get("code", error.get("status"))
    text = str(code) if isinstance(code, int | str) and not isinstance(code, bool) else ""
    status = int(text) if text.isdecimal() and 400 <= int(text[:4]) < 600 else 400
    message = error.get("message")
    said = message if isinstance(message, str) and message.strip() else _show(error)
    return Refused(status, said, text or None)


def _choice(choice: object, chat: bool, remarks: set[str]) -> Choice:
    if not isinstance(choice, dict):
        raise Malformed(f"a choice that is {_show(choice)}")
    reasoning = None
    if chat:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise Malformed(f"a choice whose message is {_show(message)}")
        text, reasoning = _content(message.get("content"))
        reasoning = _thought(message) or reasoning
        if text is None and isinstance(message.get("refusal"), str):
            text = message["refusal"]  # what the model said, in a field of its own
    else:
        text, reasoning = _content(choice.get("text"))
        reasoning = _thought(choice) or reasoning
    values, offsets = _logprobs(choice.get("logprobs"), chat, remarks)
    whole = bool(values) and None not in values
    return Choice(
        _repair_text(text, remarks),
        _repair_text(reasoning, remarks),
        _reason(choice.get("finish_reason"), remarks),
        _ids(choice.get("token_ids"), remarks),
        math.fsum(value for value in values if value is not None) if whole else None,
        offsets,
        values,
    )


def _content(value: object, depth: int = 0) -> tuple[str | None, str | None]:
    """Text and thought of a message's content: a text, nothing, or parts of several types."""
    if value is None or isinstance(value, str):
        return value, None
    if not isinstance(value, list) or depth > DEEPEST:
        raise Malformed(f"a text that is {_show(value)}")
    texts: list[str] = []
    thoughts: list[str] = []
    for part in value:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise Malformed(f"a part of a text that is {_show(part)}")
        kind = part.get("type")
        inner = next((part[name] for name in PART_TEXTS if name in part), None)
        text, thought = _content(inner, depth + 1)
        of_thought = isinstance(kind, str) and kind.startswith(("thinking", "reasoning"))
        (thoughts if of_thought else texts).append(text or "")
        thoughts.append(thought or "")
    return "".join(texts) if texts else None, "".join(thoughts) or None


def _thought(message: Mapping[str, Any]) -> str | None:
    for name in THOUGHTS:
        if isinstance(message.get(name), str | list) and message[name]:
            return _content(message[name])[0]
    return None


def _repair_text(text: str | None, remarks: set[str]) -> str | None:
    if text is None or text.isascii():
        return text
    whole = repair(text)
    if whole != text:
        remarks.add("the server sent half characters (unpaired surrogates); they are now U+FFFD")
    return whole


def _reason(value: object, remarks: set[str]) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        remarks.add(f"the server gave a finish reason that is no word ({_show(value)}); dropped")
        return None
    return printable(repair(value))[:LONGEST_REASON]


def _ids(value: object, remarks: set[str]) -> tuple[int, ...] | None:
    if value is None:
        return None
    # `type` tells whole numbers from true and false.
    if (
        not isinstance(value, list)
        or {type(id) for id in value} - {int}
        or (value and not 0 <= min(value) <= max(value) <= LARGEST_ID)
    ):
        remarks.add("the server gave token ids that cannot be; dropped")
        return None
    return tuple(value)


def _logprobs(
    value: object, chat: bool, remarks: set[str]
) -> tuple[tuple[float | None, ...], tuple[int, ...]]:
    """Log-probabilities a token, None for what cannot be one, and where the tokens begin."""
    if not isinstance(value, dict):
        return (), ()
    content = value.get("content")
    if chat and isinstance(content, list):
        logprobs: list[Any] = [t.get("logprob") if isinstance(t, dict) else None for t in content]
    else:
        tokens = value.get("token_logprobs")
        logprobs = tokens if isinstance(tokens, list) else []
    values = tuple(
        number
        if type(number) is float and LEAST_LOGPROB <= number <= 0.0
        else _logprob(number, remarks)
        for number in logprobs
    )
    offsets = value.get("text_offset")
    good = isinstance(offsets, list) and all(isinstance(place, int) for place in offsets)
    return values, tuple(offsets) if good and isinstance(offsets, list) else ()


def _logprob(value: object, remarks: set[str]) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and LEAST_LOGPROB <= value <= 1e-6:  # type: ignore[operator]  # so it is no NaN
        return min(float(value), 0.0)  # type: ignore[arg-type]
    remarks.add("the server gave log-probabilities that cannot be; dropped")
    return None


def _show(value: object) -> str:
    """A value in a message, short and printable."""
    if value is None:
        return "missing"
    return printable(repair(repr(value)[:200]))[:60]
