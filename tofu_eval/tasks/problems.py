"""What is wrong with a task, and where: collected first, then raised as one line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.escape import printable
from tofu_eval.core.types import Prompt

SHOWN = 60
"""Characters of a wrong value that a message repeats."""


class Problem(NamedTuple):
    """One thing that is wrong, at a line (from 1) of a file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {printable(self.text)}"


class TaskError(ConfigError):
    """A task cannot be read. `problems` has all that is wrong, the message only the first."""

    def __init__(self, problems: Iterable[Problem], file: str) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        first, *others = self.problems
        more = f" (and {len(others)} more: tofu-eval tasks check {file})" if others else ""
        super().__init__(f"{first}{more}")


class Placed(NamedTuple):
    """A prompt and where it stands: a line of a file, and in words ("line 7", "row 3")."""

    prompt: Prompt
    line: int
    words: str


def check_prompts(placed: Sequence[Placed], file: str) -> list[Problem]:
    """What no prompt may be, wherever it comes from: empty, unanswerable or named twice."""
    problems = []
    first: dict[str, str] = {}
    for prompt, line, words in placed:
        if fault := _fault(prompt):
            problems.append(Problem(file, line, f"prompt '{prompt.id}' {fault}"))
        if prompt.id in first:
            twice = f"prompt id '{prompt.id}' is used twice: {first[prompt.id]} and {words}"
            problems.append(Problem(file, line, twice))
        first.setdefault(prompt.id, words)
    return problems


def find_unclustered(prompts: Sequence[Prompt], field: str) -> str | None:
    """What is wrong where a prompt does not say its cluster; None where all do.

    Args:
        prompts: of a task.
        field: the metadata field that says it; empty where the task has no clusters.
    """
    for prompt in prompts:
        if field and field not in prompt.metadata:
            have = ", ".join(sorted(prompt.metadata)) or "nothing"
            return (
                f"the prompt '{prompt.id}' has no metadata '{field}' to cluster by; known of it: "
                f"{have}. Give '{field}' to every prompt, or leave 'cluster' out"
            )
    return None


def surrogate(text: str) -> str | None:
    """The first half of a character that stands alone, as `\\ud83d`; such text is not Unicode."""
    lone = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
    return None if lone is None else f"\\u{ord(lone):04x}"


def show_value(value: object) -> str:
    """A wrong value for a message: JSON on one line, cut at `SHOWN` characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def one_line(error: BaseException) -> str:
    """The kind and the first line of a foreign exception."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _fault(prompt: Prompt) -> str | None:
    if not prompt.messages:
        return "has no messages"
    if any(not message.content.strip() for message in prompt.messages):
        return "is empty"
    if prompt.messages[-1].role != "user":
        return f"must end with a user's message, got one of role '{prompt.messages[-1].role}'"
    turns = (message.content for message in prompt.messages)
    others = (*prompt.references, *prompt.metadata.values(), *prompt.paraphrases, *prompt.human)
    lone = surrogate("".join([prompt.id, *turns, *others]))
    return f"holds half a character ({lone}), which is not valid Unicode" if lone else None
