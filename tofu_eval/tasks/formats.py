"""How a prompt is put to a model: as raw text, in a template, or as a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast, get_args

from jinja2 import TemplateSyntaxError, meta, nodes

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.templates import environment, line_of, render_template
from tofu_eval.core.types import Message, Prompt, PromptFormat, Task, digest
from tofu_eval.tasks.problems import Problem, did_you_mean, one_line
from tofu_eval.tasks.sources import absent
from tofu_eval.tasks.yaml_document import read_text

JINJA = ".jinja"
VARIABLES = ("prompt", "messages", "input", "problem")
BUILTIN: Mapping[str, str] = {
    "sft": "sft.jinja", "paper": "paper.jinja", "paper-math": "paper-math.jinja"
}  # fmt: skip
"""The formats that have a template of ours."""

CLOSING: Mapping[str, str] = {"paper": "<|/response|>", "paper-math": "<|/solution|>"}
"""The delimiter at which a response in a format ends."""

_PROBES = (
    Prompt.of_text("one message", "Name a fruit."),
    Prompt(
        "a conversation",
        (
            Message("system", "Be brief."),
            Message("user", "Hello."),
            Message("assistant", "Hello."),
            Message("user", "Name a fruit."),
        ),
    ),
)
"""What a template must be able to render before a run begins."""


@dataclass(frozen=True, slots=True)
class Format:
    """A prompt format.

    `template` (Jinja source) and `file`, where it comes from, are set for what has a template;
    `digest` (hex) covers the name and the template.
    """

    name: PromptFormat
    template: str | None = None
    file: str = ""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of what shapes the text."""
        return digest([self.name, self.template])

    @property
    def takes_input(self) -> bool:
        """Whether it has a place of its own for material that belongs to a prompt."""
        return self.template is not None and "input" in _variables_of(self.template)

    def complete(self, answer: str) -> str:
        """An answer as it stands behind a prompt in this format, closed where the format closes."""
        return f" {answer.strip()} \n{CLOSING[self.name]}\n" if self.name in CLOSING else answer

    @property
    def stop(self) -> tuple[str, ...]:
        """The texts at which a response in this format ends."""
        return (CLOSING[self.name],) if self.name in CLOSING else ()


@cache
def _variables_of(template: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(environment().parse(template)))


def load_format(value: str) -> Format:
    """The format of an option's value.

    Args:
        value: "base", "chat", "sft", "paper", "paper-math" (with the built-in templates), or the
            path of a `.jinja` file, which is "sft" with that template.

    Raises:
        ConfigError: with file and line for a template that cannot render.
    """
    if value in BUILTIN:
        return _builtin(value)
    if value in get_args(PromptFormat):
        return Format(cast(PromptFormat, value))
    formats = ", ".join(get_args(PromptFormat))
    if not value.endswith(JINJA):
        hint = did_you_mean(value, get_args(PromptFormat))
        raise ConfigError(
            f"Unknown prompt format '{value}'.{hint} Give {formats} or the path of a {JINJA} file."
        )
    if why := absent(Path(value)):
        raise ConfigError(f"{value}: {why}. Give {formats} or a {JINJA} file.")
    return format_of("sft", read_text(Path(value)), value)


def format_of(name: str, template: str | None, file: str) -> Format:
    """The format that a checkpoint was tuned in, as `tofu-eval train` saved it.

    Args:
        name: of a format.
        template: Jinja source, of those that have a template.
        file: what messages call it.

    Raises:
        ConfigError: no such format, or a template that cannot render.
    """
    if name not in get_args(PromptFormat) or (template is None) != (name not in BUILTIN):
        raise ConfigError(f"{file}: there is no prompt format '{name}' of this kind.")
    built = Format(cast(PromptFormat, name), template, file)
    if template is not None:
        _check_template(built)
    return built


def converse(
    prompt: Prompt, format: Format, *, task: Task | None = None, system: str | None = None
) -> tuple[Message, ...]:
    """A prompt with all that a run and its task put before it, as turns.

    Args:
        prompt: what is asked.
        format: how; a task may have other words for raw text than for an instruction.
        task: its examples come first, its wording changes the last turn of the user.
        system: what the run tells the model; before the prompt's own system message, if it has one.

    Raises:
        ConfigError: the wording fails on this prompt.
    """
    turns = list(prompt.messages)
    wording = task.wording.get("base" if format.name == "base" else "instruct") if task else None
    if wording is not None:
        last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=None)
        if last is not None:
            turns[last] = replace(turns[last], content=_reword(wording, turns[last], prompt, task))
    system_turns = [system] if system else []
    while turns and turns[0].role == "system":
        system_turns.append(turns.pop(0).content)
    shown = [
        turn
        for example in (task.examples if task else ())
        for turn in (Message("user", example.prompt), Message("assistant", example.answer))
    ]
    opening = [Message("system", "\n\n".join(system_turns))] if system_turns else []
    return (*opening, *shown, *turns)


def render(
    prompt: Prompt,
    format: Format | str,
    *,
    task: Task | None = None,
    system: str | None = None,
) -> tuple[str | None, tuple[Message, ...] | None]:
    """A prompt as a `Request` wants it: (text, None) or (None, messages).

    Args:
        prompt: what is asked.
        format: "base" is the prompt's text as it stands, each example with its answer on the same
            line where it does not end one; those with a template put it there, which sees `prompt`
            (text), `messages` (each with role and content), `input` and `problem` (the metadata
            fields of these names, of which the second is by default the prompt); "chat" is
            its messages, for the chat template of the model's tokenizer. A string is loaded first.
        task: as `converse`.
        system: as `converse`.

    Raises:
        ConfigError: as `load_format`; the template fails on this prompt, with its line.
    """
    if isinstance(format, str):
        format = load_format(format)
    turns = converse(prompt, format, task=task, system=system)
    return render_turns(turns, prompt, format, examples=len(task.examples) if task else 0)


def render_turns(
    turns: Sequence[Message], prompt: Prompt, format: Format, *, examples: int = 0
) -> tuple[str | None, tuple[Message, ...] | None]:
    """As `render`, of turns that stand; the first of them are so many examples."""
    turns = tuple(turns)
    if format.name == "chat":
        return None, turns
    if format.template is None:
        return _join_turns(turns, examples), None
    return _render(format, format.template, replace(prompt, messages=turns)), None


def _join_turns(turns: Sequence[Message], examples: int) -> str:
    """The contents with a blank line between them, an example's answer right behind its prompt."""
    opening = 1 if turns and turns[0].role == "system" else 0
    texts = [turn.content for turn in turns[:opening]]
    for i in range(opening, opening + 2 * examples, 2):
        asked, answer = turns[i].content, turns[i + 1].content
        joint = "" if asked[-1:].isspace() else " "
        texts.append(f"{asked}{joint}{answer}")
    return "\n\n".join([*texts, *(turn.content for turn in turns[opening + 2 * examples :])])


def _reword(wording: str, turn: Message, prompt: Prompt, task: Task | None) -> str:
    try:
        return render_template(wording, {"prompt": turn.content})
    except Exception as error:  # a template may fail in any way that Python can
        name = task.name if task else ""
        raise ConfigError(
            f"The wording of task '{name}' fails at prompt '{prompt.id}': {one_line(error)}."
        ) from error


@cache
def _builtin(name: str) -> Format:
    source = files("tofu_eval.tasks").joinpath(BUILTIN[name]).read_text(encoding="utf-8")
    return Format(cast(PromptFormat, name), source, BUILTIN[name])


def _check_template(format: Format) -> None:
    """Refuse a template that does not parse, ignores the prompt, or cannot render the probes."""
    source = format.template or ""
    try:
        tree = environment().parse(source)
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        raise _error(format, error.lineno, error.message or "cannot be parsed") from error
    variables = f"Known: {', '.join(VARIABLES)}"
    for node in tree.find_all(nodes.Name):
        if node.name in free and node.name not in VARIABLES:
            hint = did_you_mean(node.name, VARIABLES)
            raise _error(format, node.lineno, f"unknown variable '{node.name}'.{hint} {variables}")
    if not free.intersection(VARIABLES[:2]):
        raise _error(format, 1, f"it does not use the prompt. {variables}")
    for probe in _PROBES:
        _render(format, source, probe)


def _render(format: Format, source: str, prompt: Prompt) -> str:
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    try:
        given = {
            "input": prompt.metadata.get("input", ""),
            "problem": prompt.metadata.get("problem") or prompt.text,
        }
        return render_template(source, {"prompt": prompt.text, "messages": turns, **given})
    except Exception as error:  # a template may fail in any way that Python can
        line = line_of(error)
        raise _error(format, line, f"at prompt '{prompt.id}': {one_line(error)}") from error


def _error(format: Format, line: int, text: str) -> ConfigError:
    return ConfigError(str(Problem(format.file, line, f"template: {text}")))
