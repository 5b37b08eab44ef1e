"""Conversations as tools write them: roles, contents in parts, the thoughts beside an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from tofu_eval.core.types import Message
from tofu_eval.importers.base import Answer, RowError, kind_of

Role = Literal["system", "user", "assistant"]

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "tool": "user",
    "function": "user",
    "observation": "user",
    "assistant": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
}
"""What tools call the speakers; what a tool says comes to the model from outside, as a user."""

THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")
"""Fields of a message that hold its reasoning."""


def is_chat(value: object) -> bool:
    """Whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, Mapping)
            and isinstance(turn.get("role", turn.get("from")), str)
            and ("role" in turn or "value" in turn)
            for turn in value
        )
    )


def messages_of(turns: object, name: str) -> tuple[Message, ...]:
    """A conversation as messages; what is not text stands as its kind in brackets.

    Raises:
        RowError: it is no list of messages, or has a role that is not known.
    """
    if not isinstance(turns, list):
        raise RowError(f"'{name}' must be a list of messages, got {kind_of(turns)}")
    return tuple(_message(turn, place, name) for place, turn in enumerate(turns, start=1))


def split_chat(turns: object, name: str) -> tuple[tuple[Message, ...], Answer]:
    """The messages before the last, and the last as a response.

    Raises:
        RowError: the last message is not the assistant's.
    """
    if not isinstance(turns, list) or not turns:
        raise RowError(f"'{name}' must be a list of messages, got {kind_of(turns)}")
    *before, last = turns
    if _message(last, len(turns), name).role != "assistant":
        raise RowError(
            f"the last of '{name}' must be the assistant's message, got one of the role "
            f"'{_role(last)}'"
        )
    return messages_of(before, name), answer_of(last)


def answer_of(message: object, **said: Any) -> Answer:
    """An assistant's message as a response; `said` are further fields of it.

    Raises:
        RowError: it is no message.
    """
    if isinstance(message, str) or message is None:
        return Answer(message, **said)
    if not isinstance(message, Mapping):
        raise RowError(f"a message must be an object, got {kind_of(message)}")
    text, thoughts = content_of(message.get("content", message.get("value")))
    beside = [message.get(name) for name in THOUGHTS]
    thoughts = [*(part for part in beside if isinstance(part, str) and part), *thoughts]
    if text is None and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    return Answer(text, reasoning="\n".join(dict.fromkeys(thoughts)) or None, **said)


def content_of(content: object, *, name_others: bool = False) -> tuple[str | None, list[str]]:
    """The text of a message's content, None where it has none; and the thoughts among its parts.

    With `name_others`, what is neither stands in the text as its kind: "[image_url]".

    Raises:
        RowError: it is neither text nor a list of parts.
    """
    if content is None or isinstance(content, str):
        return content, []
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise RowError(f"'content' must be a string or a list of parts, got {kind_of(content)}")
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind, text = _part(part)
        if kind == "thought":
            thoughts.append(text)
        elif kind == "text" or name_others:
            texts.append(text)
    return ("".join(texts) if texts else None), [text for text in thoughts if text]


def _message(turn: object, place: int, name: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError(f"message {place} of '{name}' must be an object, got {kind_of(turn)}")
    role = ROLES.get(_role(turn).lower())
    if role is None:
        raise RowError(
            f"message {place} of '{name}' has the role '{_role(turn)}', expected one of "
            f"{', '.join(ROLES)}"
        )
    text, _ = content_of(turn.get("content", turn.get("value")), name_others=True)
    return Message(role, text or "")


def _role(turn: Mapping[str, Any]) -> str:
    role = turn.get("role", turn.get("from"))
    return role if isinstance(role, str) else ""


def _part(part: object) -> tuple[str, str]:
    """What a part is, thought, text or other, and its text; of another kind, that in brackets."""
    if isinstance(part, str):
        return "text", part
    if not isinstance(part, Mapping):
        raise RowError(f"a part of 'content' must be an object, got {kind_of(part)}")
    kind = str(part.get("type") or "text")
    if kind in ("reasoning", "thinking", "redacted_thinking"):
        for field in ("reasoning", "thinking", "text", "summary"):
            value = part.get(field)
            if isinstance(value, str):
                return "thought", value
            if isinstance(value, list):
                return "thought", "\n".join(_part(inner)[1] for inner in value)
        return "thought", ""
    for field in ("text", "refusal"):
        if isinstance(part.get(field), str):
            return "text", part[field]
    return "other", f"[{kind}]"


def messages_in(text: str) -> str | tuple[Message, ...]:
    """The messages that a text is JSON of, or the text itself."""
    if not text.lstrip().startswith("["):
        return text
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return messages_of(turns, "prompt") if is_chat(turns) else text


def prompt_of(value: object, name: str) -> str | tuple[Message, ...]:
    """A prompt that is a text or a list of messages.

    Raises:
        RowError: it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return messages_of(value, name)
    raise RowError(f"'{name}' must be a string or a list of messages, got {kind_of(value)}")


def is_answered(value: object) -> bool:
    """Whether a value is a conversation that ends with the assistant's message."""
    return (
        isinstance(value, list)
        and is_chat(value)
        and ROLES.get(_role(value[-1]).lower()) == "assistant"
    )
