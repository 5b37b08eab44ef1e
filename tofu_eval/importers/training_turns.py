"""Conversations to train on, as their rows write them: every field is used, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tofu_eval.core.reasoning import split_reasoning
from tofu_eval.importers.chat import THOUGHTS

ROLES = ("system", "developer", "user", "assistant", "tool")

SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
"""What ShareGPT's `from` calls the speakers."""

ANYWHERE = frozenset({"system", "user", "assistant"})
"""The roles that every prompt format has words for; the others need a chat template."""

FOR_TEMPLATES = ("tool_calls", "tool_call_id", "name")
"""Fields of a message that a chat template is given as they are."""

KNOWN = frozenset(
    {"role", "content", "from", "value", "weight", "refusal", *FOR_TEMPLATES, *THOUGHTS}
)

OTHER_PARTS = "text is all that can be trained on here"


class RowError(Exception):
    """What is wrong with a row, without its place."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation.

    `thought` is what was thought before it, where a field of its own says it; `more` are the fields
    that only a chat template can place; `learnt` says whether the turn is to be learnt.
    """

    role: str
    content: str
    thought: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    learnt: bool = False

    def as_template_sees_it(self) -> dict[str, Any]:
        """The message that a chat template is given."""
        thought = {} if self.thought is None else {"reasoning_content": self.thought}
        return {"role": self.role, "content": self.content, **thought, **self.more}

    @property
    def reasoning(self) -> str | None:
        """What was thought, said in a field of its own or within the content."""
        if self.role != "assistant":
            return None
        return self.thought or split_reasoning(self.content).reasoning or None

    @property
    def answer(self) -> str:
        """The content without the thought in it."""
        parts = split_reasoning(self.content)
        return self.content if parts.reasoning is None or not parts.closed else parts.answer


def read_turns(value: object, name: str, unused: set[str]) -> tuple[Turn, ...]:
    """The turns of a field; a text is one of the user's. Those of the assistant are learnt.

    Args:
        value: text, or a list of messages with role and content (or ShareGPT's from and value).
        name: of the field.
        unused: gets the fields of messages that mean nothing here.

    Raises:
        RowError: it is something else, or says what cannot be used.
    """
    if isinstance(value, str):
        return (Turn("user", value),)
    if not isinstance(value, list) or not value:
        raise RowError(f"'{name}' must be text or a list of messages")
    return tuple(_read_turn(turn, f"message {i} of '{name}'", unused)
                 for i, turn in enumerate(value, start=1))  # fmt: skip


def forget_turns(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns, none of them to be learnt."""
    return tuple(replace(turn, learnt=False) for turn in turns)


def _read_turn(turn: object, where: str, unused: set[str]) -> Turn:
    if not isinstance(turn, Mapping):
        raise RowError(f"{where} must be an object with role and content")
    given = {name: value for name, value in turn.items() if value is not None}
    unused.update(f"messages[].{name}" for name in given if name not in KNOWN)
    role = _role_of(given, where)
    more = {name: given[name] for name in FOR_TEMPLATES if given.get(name)}
    if "tool_calls" in more:
        more["tool_calls"] = _tool_calls(more["tool_calls"], where)
    thoughts = [given[name] for name in THOUGHTS if given.get(name)]
    if any(not isinstance(thought, str) for thought in thoughts):
        raise RowError(f"the thought of {where} must be text")
    learnt = role == "assistant" and _weight_of(given, where)
    content = _text_of(given, where, may_lack="tool_calls" in more)
    return Turn(role, content, thoughts[0] if thoughts else None, more, learnt)


def _role_of(given: Mapping[str, Any], where: str) -> str:
    if "role" not in given and "from" in given:
        role = SHAREGPT.get(str(given["from"]).lower())
        if role is None:
            raise RowError(
                f"{where} is from '{given['from']}'; expected one of {', '.join(SHAREGPT)}"
            )
        return role
    if given.get("role") not in ROLES:
        raise RowError(f"{where} has the role '{given.get('role')}'; expected one of "
                       f"{', '.join(ROLES)}")  # fmt: skip
    return str(given["role"])


def _weight_of(given: Mapping[str, Any], where: str) -> bool:
    """Whether a message's weight, 0 or 1, says that it is learnt."""
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or weight not in (0, 1):
        raise RowError(
            f"{where} has the weight {weight!r}; expected 0 (not learnt) or 1: what else a token "
            "weighs, the loss says"
        )
    return bool(weight)


def _text_of(given: Mapping[str, Any], where: str, *, may_lack: bool) -> str:
    """A content as text, its parts joined."""
    content = given.get("content", given.get("value"))
    if content is None and isinstance(given.get("refusal"), str):
        return str(given["refusal"])
    if content is None and may_lack:
        return ""
    if isinstance(content, list):
        return "".join(_part_text(part, where) for part in content)
    if not isinstance(content, str):
        raise RowError(f"{where} must be an object with role and content, which is text or parts")
    return content


def _part_text(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise RowError(f"{where} has a part of the type '{kind}'; {OTHER_PARTS}")


def _tool_calls(calls: object, where: str) -> list[dict[str, Any]]:
    """Calls with a name; arguments that are JSON as text become what they say."""
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RowError(f"the tool_calls of {where} must be a list of objects")
    read = []
    for call in calls:
        function = call.get("function", call)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise RowError(f"a tool call of {where} has no function with a name")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments = _parse(arguments, f"the arguments of a tool call of {where}")
        own = {"name": function["name"], "arguments": arguments or {}}
        rest = {name: value for name, value in call.items() if value is not None}
        read.append({**rest, "function": own} if "function" in call else {**rest, **own})
    return read


def read_tools(value: object) -> list[Any]:
    """The tools of a row, a list or JSON of one.

    Raises:
        RowError: it is neither.
    """
    tools = _parse(value, "'tools'") if isinstance(value, str) and value.strip() else value or []
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RowError(f"'tools' must be a list of objects, got {type(value).__name__}")
    return [without_nulls(tool) for tool in tools]


def read_template_kwargs(value: object) -> dict[str, Any]:
    """What a row gives its chat template.

    Raises:
        RowError: it is no object.
    """
    given = _parse(value, "'chat_template_kwargs'") if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise RowError("'chat_template_kwargs' must be an object")
    return {name: value for name, value in given.items() if value is not None}


def without_nulls(value: Any) -> Any:
    """The value without the nulls that a table puts where another row has a field."""
    if isinstance(value, Mapping):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _parse(text: Any, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{what} must be JSON, got {str(text)[:40]!r}") from error
