"""A row of a dataset as a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tofu_eval.core.templates import render_template
from tofu_eval.core.types import Message, Prompt
from tofu_eval.tasks.problems import Placed, one_line, show_value
from tofu_eval.tasks.source_schema import Answers, Fields

ROLES = ("system", "user", "assistant")


class RowError(Exception):
    """What is wrong with one row, without its place."""


def parse(text: str) -> Mapping[str, Any]:
    """A line of JSONL; RowError where it is not a JSON object."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(f"not valid JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a tower of brackets
        raise RowError(f"not valid JSON: {one_line(error)}") from error
    if not isinstance(row, dict):
        raise RowError(f"a row must be a JSON object, got {show_value(row)}")
    return row


def prompt_of(row: Mapping[str, Any], number: str, fields: Fields) -> Prompt | None:
    """One row as a prompt, None where it does not count; null or blank metadata is left out.

    Raises:
        RowError: it is not a prompt.
    """
    if fields.where is not None and not _render(fields.where, row, "where"):
        return None
    id = _get(row, fields.id, "id") if fields.id else number
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        raise RowError(f"id must be text or a whole number, got {show_value(id)}")
    values = {name: _get(row, name, "metadata") for name in fields.metadata}
    metadata = {name: _field_text(name, v) for name, v in values.items() if v is not None}
    computed = {name: _render(template, row, name) for name, template in fields.computed.items()}
    metadata |= {name: value for name, value in computed.items() if value}
    return Prompt(
        str(id),
        _messages_of(row, fields),
        _references(row, fields),
        metadata,
        _texts(row, fields.paraphrases, "paraphrases"),
        _texts(row, fields.human, "human"),
    )


def attach_answers(
    placed: Sequence[Placed],
    of: Sequence[Mapping[str, Any]],
    rows: Iterable[Mapping[str, Any]],
    answers: Answers,
) -> list[Placed]:
    """The prompts with the answers of people that stand in other rows, each text once.

    Args:
        placed: the prompts.
        of: the row of each.
        rows: all rows, answers among them.
        answers: which they are, and to what.

    Returns: the prompts that have enough answers; of several rows that are one prompt, the first.

    Raises:
        RowError: a row lacks one of the fields.
    """
    texts: dict[str, dict[str, None]] = {}
    for row in rows:
        if answers.where is not None and not _render(answers.where, row, "human_rows.where"):
            continue
        text, to = (
            _get(row, answers.field, "human_rows.field"),
            _get(row, answers.to, "human_rows.to"),
        )
        if isinstance(text, str) and text.strip() and to is not None:
            texts.setdefault(_key(to), {})[text.strip()] = None
    kept: dict[str, Placed] = {}
    for one, row in zip(placed, of, strict=True):
        key = _key(_get(row, answers.of, "human_rows.of"))
        human = tuple(texts.get(key, ()))
        if len(human) >= answers.least and key not in kept:
            kept[key] = one._replace(prompt=replace(one.prompt, human=human))
    return list(kept.values())


def _key(value: object) -> str:
    """What tells whether two rows are of one prompt: a text without white space at its ends."""
    return value.strip() if isinstance(value, str) else json.dumps(value, default=str)


def _texts(row: Mapping[str, Any], name: str | None, role: str) -> tuple[str, ...]:
    """A list of texts in a field that a row may lack; blank ones are left out."""
    found = row.get(name) if name else None
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise RowError(f"{role} must be a list of texts, got {show_value(found)}")
    return tuple(text for text in found if text.strip())


def _messages_of(row: Mapping[str, Any], fields: Fields) -> tuple[Message, ...]:
    if fields.template is not None:
        return (Message("user", _render(fields.template, row, "template")),)
    there = [name for name in fields.prompt if name in row]
    if not there and len(fields.prompt) > 1:
        raise RowError(
            f"none of the fields {_names(fields.prompt)} (prompt) is there, "
            f"the row has {_names(row)}"
        )
    return _messages(_get(row, (there or fields.prompt)[0], "prompt"))


def _references(row: Mapping[str, Any], fields: Fields) -> tuple[str, ...]:
    if fields.answer is not None:
        return (_render(fields.answer, row, "answer"),)
    values = _get(row, fields.references, "references") if fields.references else []
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise RowError(f"references must be text or a list of texts, got {show_value(values)}")
    return tuple(values)


def _render(template: str, row: Mapping[str, Any], what: str) -> str:
    """White space at the ends is dropped."""
    try:
        return render_template(template, row).strip()
    except Exception as error:  # a template may fail in any way that Python can
        raise RowError(f"{what}: {one_line(error)}; the row has {_names(row)}") from error


def _get(row: Mapping[str, Any], name: str, role: str) -> Any:
    if name not in row:
        raise RowError(f"field '{name}' ({role}) is missing, the row has {_names(row)}")
    return row[name]


def _names(row: Mapping[str, Any] | list[str]) -> str:
    return ", ".join(f"'{key}'" for key in row) or "nothing"


def _messages(value: Any) -> tuple[Message, ...]:
    """A text is one user message; a list of role and content is a conversation."""
    if isinstance(value, str):
        return (Message("user", value),)
    turns = value if isinstance(value, list) else [value]
    for turn in turns:
        known = isinstance(turn, dict) and turn.get("role") in ROLES
        if not known or not isinstance(turn.get("content"), str):
            raise RowError(
                f"prompt must be text or messages with role ({', '.join(ROLES)}) and content, "
                f"got {show_value(turn)}"
            )
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def _field_text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise RowError(f"field '{name}' (metadata) must be text or a number, got {show_value(value)}")
