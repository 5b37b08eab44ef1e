"""Prompts from rows: a JSONL file, or a dataset of the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tofu_eval.errors import MissingDependencyError
from tofu_eval.tasks.document import read_text
from tofu_eval.tasks.problems import Placed, Problem, TaskError, check_prompts, one_line, shown
from tofu_eval.tasks.schema import Fields, FileSource, HubSource
from tofu_eval.types import Message, Prompt

ROLES = ("system", "user", "assistant")


def absent(path: Path) -> str | None:
    """Why there is no file to read at `path`; None where there is one."""
    try:
        return None if path.is_file() else "there is no such file"
    except OSError as error:  # a path too long for the system, a folder that may not be read
        return f"cannot be read: {error.strerror or error}"


class _RowError(Exception):
    """What is wrong with one row, without its place."""


def read_jsonl(source: FileSource, task_file: Path, line: int) -> list[Prompt]:
    """The prompts of a JSONL file; blank lines are skipped.

    Args:
        source: where it is, relative to `task_file`.
        task_file: the file that names it.
        line: the line of `file` there.

    Raises:
        ConfigError: with file and line, for anything that is not a prompt.
    """
    path = task_file.parent / source.path
    if why := absent(path):
        raise TaskError([Problem(str(task_file), line, f"file: {path}: {why}")], str(task_file))
    # Not splitlines: U+2028 and its like may stand inside a JSON string.
    lines = enumerate(read_text(path).split("\n"), start=1)
    rows = [(at, text) for at, text in lines if text.strip()]
    placed, problems = [], []
    for number, (at, text) in enumerate(rows, start=1):
        try:
            prompt = _prompt(_parse(text), str(number), source.fields)
            placed.append(Placed(prompt, at, f"line {at}"))
        except _RowError as error:
            problems.append(Problem(str(path), at, str(error)))
    if not rows:
        problems.append(Problem(str(path), 1, "the file has no prompts"))
    return _checked(placed, problems, str(path))


def read_hub(source: HubSource, task_file: Path, line: int) -> list[Prompt]:
    """The prompts of a Hub dataset at its pinned commit; never runs the dataset's own code.

    Args:
        source: where it is.
        task_file: the file that names it.
        line: the line of `dataset` there, which every error carries.

    Raises:
        ConfigError: the dataset cannot be had, or a row is not a prompt.
        MissingDependencyError: the package `datasets` is not installed.
    """
    file = str(task_file)
    name = f"dataset '{source.path}' at {source.revision[:7]}"
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError.of(f"The {name}", "datasets", "hf") from error
    try:
        rows = list(
            datasets.load_dataset(
                source.path, source.name, split=source.split, revision=source.revision
            )
        )
    except Exception as error:  # the Hub, the network and the dataset may fail in any way
        what = f"the {name} cannot be loaded: {one_line(error)}"
        advice = "Check path, name, split and the network."
        raise TaskError([Problem(file, line, f"{what}. {advice}")], file) from error
    placed, problems = [], []
    for number, row in enumerate(rows, start=1):
        try:
            prompt = _prompt(row, str(number), source.fields)
            placed.append(Placed(prompt, line, f"row {number}"))
        except _RowError as error:
            problems.append(Problem(file, line, f"row {number} of the {name}: {error}"))
    if not rows:
        problems.append(Problem(file, line, f"the {name} has no rows in '{source.split}'"))
    return _checked(placed, problems, file)


def _checked(placed: list[Placed], problems: list[Problem], file: str) -> list[Prompt]:
    problems = [*problems, *check_prompts(placed, file)]
    if problems:
        raise TaskError(problems, file)
    return [prompt for prompt, _, _ in placed]


def _parse(text: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise _RowError(f"not valid JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a tower of brackets
        raise _RowError(f"not valid JSON: {one_line(error)}") from error
    if not isinstance(row, dict):
        raise _RowError(f"a row must be a JSON object, got {shown(row)}")
    return row


def _prompt(row: Mapping[str, Any], number: str, fields: Fields) -> Prompt:
    """One row as a prompt; a metadata field that is null is left out."""
    references = _get(row, fields.references, "references") if fields.references else []
    if isinstance(references, str):
        references = [references]
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise _RowError(f"references must be text or a list of texts, got {shown(references)}")
    id = _get(row, fields.id, "id") if fields.id else number
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        raise _RowError(f"id must be text or a whole number, got {shown(id)}")
    values = {name: _get(row, name, "metadata") for name in fields.metadata}
    metadata = {name: _plain(name, v) for name, v in values.items() if v is not None}
    messages = _messages(_get(row, fields.prompt, "prompt"))
    return Prompt(str(id), messages, tuple(references), metadata)


def _get(row: Mapping[str, Any], name: str, role: str) -> Any:
    if name not in row:
        has = ", ".join(f"'{key}'" for key in row) or "nothing"
        raise _RowError(f"field '{name}' ({role}) is missing, the row has {has}")
    return row[name]


def _messages(value: Any) -> tuple[Message, ...]:
    """A text is one user message; a list of role and content is a conversation."""
    if isinstance(value, str):
        return (Message("user", value),)
    turns = value if isinstance(value, list) else [value]
    for turn in turns:
        known = isinstance(turn, dict) and turn.get("role") in ROLES
        if not known or not isinstance(turn.get("content"), str):
            raise _RowError(
                f"prompt must be text or messages with role ({', '.join(ROLES)}) and content, "
                f"got {shown(turn)}"
            )
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise _RowError(f"field '{name}' (metadata) must be text or a number, got {shown(value)}")
