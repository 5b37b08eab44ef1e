"""How a prompt is put to a model: as raw text, in a template, or as a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast, get_args

from jinja2 import TemplateSyntaxError, meta, nodes

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.templates import environment, line_of, rendered
from tofu_eval.core.types import Message, Prompt, PromptFormat, digest
from tofu_eval.tasks.problems import Problem, did_you_mean, one_line
from tofu_eval.tasks.sources import absent
from tofu_eval.tasks.yaml_document import read_text

JINJA = ".jinja"
VARIABLES = ("prompt", "messages")
BUILTIN = "sft.jinja"

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

    `template` (Jinja source) and `file`, where it comes from, are set for "sft"; `digest` (hex)
    covers the name and the template.
    """

    name: PromptFormat
    template: str | None = None
    file: str = ""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of what shapes the text."""
        return digest([self.name, self.template])


def load_format(value: str) -> Format:
    """The format of an option's value.

    Args:
        value: "base", "sft" (with the built-in template), "chat", or the path of a `.jinja`
            file, which is "sft" with that template.

    Raises:
        ConfigError: with file and line for a template that cannot render.
    """
    if value == "sft":
        return _builtin_sft()
    if value in get_args(PromptFormat):
        return Format(cast(PromptFormat, value))
    if not value.endswith(JINJA):
        hint = did_you_mean(value, get_args(PromptFormat))
        known = ", ".join(get_args(PromptFormat))
        raise ConfigError(
            f"Unknown prompt format '{value}'.{hint} Give {known} or the path of a {JINJA} file."
        )
    if why := absent(Path(value)):
        raise ConfigError(f"{value}: {why}. Give base, sft, chat or a {JINJA} file.")
    return format_of("sft", read_text(Path(value)), value)


def format_of(name: str, template: str | None, file: str) -> Format:
    """The format that a checkpoint was tuned in, as `tofu-eval train` saved it.

    Args:
        name: base, sft or chat.
        template: Jinja source, of "sft" only.
        file: what messages call it.

    Raises:
        ConfigError: no such format, or a template that cannot render.
    """
    if name not in get_args(PromptFormat) or (template is None) != (name != "sft"):
        raise ConfigError(f"{file}: there is no prompt format '{name}' of this kind.")
    made = Format(cast(PromptFormat, name), template, file)
    if template is not None:
        _check_template(made)
    return made


def render(prompt: Prompt, format: Format | str) -> tuple[str | None, tuple[Message, ...] | None]:
    """A prompt as a `Request` wants it: (text, None) or (None, messages).

    Args:
        prompt: what is asked.
        format: "base" is the prompt's text as it stands; "sft" puts it into the template, which
            sees `prompt` (text) and `messages` (each with role and content); "chat" is its
            messages, for the chat template of the model's tokenizer. A string is loaded first.

    Raises:
        ConfigError: as `load_format`; the template fails on this prompt, with its line.
    """
    if isinstance(format, str):
        format = load_format(format)
    if format.name == "chat":
        return None, prompt.messages
    if format.template is None:
        return prompt.text, None
    return _render(format, format.template, prompt), None


@cache
def _builtin_sft() -> Format:
    source = files("tofu_eval.tasks").joinpath(BUILTIN).read_text(encoding="utf-8")
    return Format("sft", source, BUILTIN)


def _check_template(format: Format) -> None:
    """Refuse a template that does not parse, ignores the prompt, or cannot render the probes."""
    source = format.template or ""
    try:
        tree = environment().parse(source)
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        raise _error(format, error.lineno, error.message or "cannot be parsed") from error
    known = f"Known: {', '.join(VARIABLES)}"
    for node in tree.find_all(nodes.Name):
        if node.name in free and node.name not in VARIABLES:
            hint = did_you_mean(node.name, VARIABLES)
            raise _error(format, node.lineno, f"unknown variable '{node.name}'.{hint} {known}")
    if not free.intersection(VARIABLES):
        raise _error(format, 1, f"it does not use the prompt. {known}")
    for probe in _PROBES:
        _render(format, source, probe)


def _render(format: Format, source: str, prompt: Prompt) -> str:
    turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
    try:
        return rendered(source, {"prompt": prompt.text, "messages": turns})
    except Exception as error:  # a template may fail in any way that Python can
        line = line_of(error)
        raise _error(format, line, f"at prompt '{prompt.id}': {one_line(error)}") from error


def _error(format: Format, line: int, text: str) -> ConfigError:
    return ConfigError(str(Problem(format.file, line, f"template: {text}")))
