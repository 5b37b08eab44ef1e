"""The task file: what it may say, and in which words it is told what is wrong."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic import model_validator as validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.names import NAME_PATTERN
from tofu_eval.core.types import Message, Prompt, PromptFormat, Sampling, Scoring
from tofu_eval.tasks.problems import Placed, did_you_mean, show_value
from tofu_eval.tasks.source_schema import (
    Answers,
    Fields,
    FileSource,
    HubSource,
    Strict,
    Template,
    as_list,
    match_pattern,
    or_text,
)
from tofu_eval.tasks.target import TARGET, target_of
from tofu_eval.tasks.yaml_document import Document, Loc

SOURCES = ("prompts", "file", "dataset")
M = TypeVar("M", bound=BaseModel)

_DEFAULT = Sampling()


Name = Annotated[
    str,
    AfterValidator(
        match_pattern(NAME_PATTERN.pattern, "may have letters, digits, '.', '_', '-' and no space")
    ),
]
Text = Annotated[str, Field(min_length=1)]
Stop = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(as_list)]
Target = Annotated[dict[str, float], BeforeValidator(target_of)]


class Turn(Strict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Inline(Strict):
    """A prompt in the task file; a plain string is the short form of `text`.

    `paraphrases` ask the same in other words, `human` are answers of people.
    `target` is the distribution that answers should have; it becomes `metadata.target`, a JSON
    object of probabilities.
    """

    id: str | None = Field(default=None, min_length=1)
    text: str | None = None
    messages: list[Turn] | None = None
    references: list[str] = Field(default_factory=list)
    metadata: dict[str, str] = Field(default_factory=dict)
    paraphrases: list[Text] = Field(default_factory=list)
    human: list[Text] = Field(default_factory=list)
    target: Target | None = None

    @validator(mode="before")
    @classmethod
    def _accept_short(cls, value: Any) -> Any:
        return or_text(value, "text")

    @validator(mode="after")
    def _one(self) -> Inline:
        if (self.text is None) == (self.messages is None):
            raise PydanticCustomError("one_of", "needs either text or messages")
        return self

    def prompt(self, id: str, category: str | None) -> Prompt:
        """The prompt, under `id` unless it has its own."""
        turns = self.messages or []
        messages = [Message(turn.role, turn.content) for turn in turns]
        return Prompt(
            self.id or id,
            tuple(messages) if self.text is None else (Message("user", self.text),),
            tuple(self.references),
            {
                **({"category": category} if category else {}),
                **({TARGET: json.dumps(self.target)} if self.target else {}),
                **self.metadata,
            },
            tuple(self.paraphrases),
            tuple(self.human),
        )


class Shown(Strict):
    """An example: a prompt, and the answer that is shown with it."""

    prompt: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class Wording(Strict):
    """Other words for a prompt: as raw text, and as an instruction."""

    base: Template | None = None
    instruct: Template | None = None

    def by_form(self) -> dict[str, str]:
        """What is set, by form."""
        return self.model_dump(exclude_none=True)


class SamplingSpec(Strict):
    """The task's defaults; see `Sampling`."""

    samples: int = Field(default=_DEFAULT.samples, ge=1)
    temperature: float = Field(default=_DEFAULT.temperature, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=_DEFAULT.top_p, gt=0, le=1)
    max_tokens: int = Field(default=_DEFAULT.max_tokens, ge=1)
    top_k: int = Field(default=_DEFAULT.top_k, ge=0)
    min_p: float = Field(default=_DEFAULT.min_p, ge=0, lt=1)
    repetition_penalty: float = Field(default=_DEFAULT.repetition_penalty, gt=0, le=2)
    stop: Stop = Field(default=[])


class TaskSpec(Strict):
    """A whole task file; exactly one of `prompts`, `file` and `dataset` is set."""

    name: Name
    version: int = Field(ge=1)
    description: str = ""
    licence: str = ""
    source: str = ""
    citation: str = ""
    format: PromptFormat = "base"
    sampling: SamplingSpec = SamplingSpec()
    metrics: list[str] = Field(default_factory=list)
    verifier: str = ""
    cluster: str = ""
    scoring: Scoring = "generate"
    examples: list[Shown] = Field(default_factory=list)
    wording: Wording = Wording()
    file: FileSource | None = None
    dataset: HubSource | None = None
    prompts: Any = None  # read one by one, so that each wrong prompt is told; see inline_prompts


def validate(document: Document) -> TaskSpec | None:
    """The task that a document describes, or None with the reasons in `document.problems`."""
    value = document.value
    if not isinstance(value, dict):
        what = f"a task is a mapping with name, version and prompts, got {show_value(value)}"
        document.report((), what)
        return None
    given = [key for key in SOURCES if value.get(key) is not None]
    if not given:
        document.report((), f"no prompts: give one of {', '.join(SOURCES)}")
    if len(given) > 1:
        what = f"give only one of {', '.join(SOURCES)}, got {' and '.join(given)}"
        document.report((given[1],), what)
    spec = read_part(TaskSpec, value, (), document)
    if spec is not None:
        try:
            Sampling(**spec.sampling.model_dump())
        except ConfigError as error:
            document.report(("sampling",), f"sampling: {error}")
    return spec


def inline_prompts(document: Document) -> list[Placed]:
    """The prompts that stand in the task file, numbered where they have no id of their own."""
    value = document.value["prompts"]
    groups = value if isinstance(value, dict) else {None: value}
    placed = []
    for category, items in groups.items():
        way: Loc = ("prompts",) if category is None else ("prompts", category)
        if not isinstance(items, list) or not items:
            document.report(
                way, f"{_join_path(way)} must be a list of prompts, got {show_value(items)}"
            )
            continue
        for index, item in enumerate(items):
            inline = read_part(Inline, item, (*way, index), document)
            if inline is not None:
                id = str(index + 1) if category is None else f"{category}-{index + 1:02d}"
                line = document.line((*way, index))
                placed.append(Placed(inline.prompt(id, category), line, f"line {line}"))
    if not groups:
        document.report(("prompts",), "prompts must have at least one category, got {}")
    return placed


def check_metrics(document: Document, known: Collection[str] | None) -> None:
    """Report metrics that are listed twice or, where the known names are given, unknown."""
    names = document.value.get("metrics")
    for index, name in enumerate(names if isinstance(names, list) else []):
        if name in names[:index]:
            document.report(("metrics", index), f"metric {show_value(name)} is listed twice")
        elif known is not None and isinstance(name, str) and name not in known:
            hint = f"unknown metric '{name}'.{did_you_mean(name, known)}"
            document.report(("metrics", index), f"{hint} List all: tofu-eval metrics list")


def read_part(
    model: type[M], value: Any, way: Loc, document: Document, root: type[BaseModel] = TaskSpec
) -> M | None:
    """Validate `value`, which stands at `way`; report each error and return None.

    `root` is the model of the whole document.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for detail in error.errors():
            loc = (*way, *detail["loc"])
            document.report(loc, _words(loc, detail, root))
        return None


def _words(loc: Loc, detail: ErrorDetails, root: type[BaseModel]) -> str:
    """A pydantic error in the words of this house."""
    kind = detail["type"]
    if kind == "missing":
        return f"{_join_path(loc)} is missing"
    if kind == "extra_forbidden":
        where = f" in {_join_path(loc[:-1])}" if len(loc) > 1 else ""
        keys = _model_at(loc[:-1], root).model_fields
        hint = f"{did_you_mean(str(loc[-1]), keys)} Known: {', '.join(keys)}"
        return f"unknown key '{loc[-1]}'{where}.{hint}"
    rule = _RULES[kind].format(**detail.get("ctx", {})) if kind in _RULES else detail["msg"]
    return f"{_join_path(loc) or 'task'} {rule}, got {show_value(detail['input'])}"


def _model_at(loc: Loc, root: type[BaseModel]) -> type[BaseModel]:
    """The model that reads the mapping at `loc`."""
    if loc and isinstance(loc[-1], int):
        return MODELS.get(loc[-2], Inline)
    return MODELS[loc[-1]] if loc else root


def _join_path(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)


MODELS: dict[str | int, type[BaseModel]] = {
    "sampling": SamplingSpec,
    "file": FileSource,
    "dataset": HubSource,
    "fields": Fields,
    "human_rows": Answers,
    "messages": Turn,
    "examples": Shown,
    "wording": Wording,
}
"""What reads the mapping under a key, or the mappings of the list under it."""

_RULES = {
    "greater_than_equal": "must be ≥ {ge:g}",
    "greater_than": "must be > {gt:g}",
    "less_than": "must be < {lt:g}",
    "less_than_equal": "must be ≤ {le:g}",
    "finite_number": "must be a finite number",
    "string_type": "must be text (in quotes, where it looks like something else)",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "literal_error": "must be {expected}",
}
