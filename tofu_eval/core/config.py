"""What a user can set on a run: the same fields in a YAML file, in flags and in Python."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.plain_yaml import NotYaml, RepeatedKey, load_yaml
from tofu_eval.core.sections import Setting, name_of, settings_of

LARGEST = 4 << 20
"""Bytes of a file of settings; PyYAML takes more than a second a megabyte."""

SHOWN = 200
"""Characters of a wrong value that a message repeats."""

Tokenizer = Literal["auto", "published", "char"]

Model = TypeVar("Model", bound=BaseModel)
Section = TypeVar("Section")
Count = Annotated[int, Field(ge=1, strict=True)]
Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class Scoring(BaseModel):
    """How to score; all that matters where nothing is generated, with the features' sections.

    `truncate` truncates the responses to that many words for the metrics that length moves;
    `responses` compares all models at that number of responses a prompt, in place of the smaller
    number of two models;
    `tokenizer` says what the metrics over words count; `unfinished` whether responses that stopped
    at the length limit are scored, `reasoning` whether thoughts are, and `reasoning_tags`
    (`OPEN,CLOSE` each) how they begin and end beside the usual ways; `workers` is how many
    processes score. `scoring` says where features and scores are made, here or in actors of Ray,
    and `scoring_args` which these are. `isolate` puts each model into a process of its own; left
    out, where there is an accelerator. `limit` takes only the first prompts of each task.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: tuple[str, ...] | None = None
    truncate: Count | None = None
    tokenizer: Tokenizer = "auto"
    unfinished: Literal["keep", "drop"] = "keep"
    reasoning: Literal["strip", "keep"] = "strip"
    reasoning_tags: tuple[str, ...] = ()
    responses: Annotated[int, Field(ge=2, strict=True)] | None = None
    limit: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0
    workers: Count = 1
    scoring: Literal["here", "ray"] = "here"
    scoring_args: dict[str, Any] = {}
    device: str | None = None
    isolate: bool | None = None

    def given_paths(self) -> set[str]:
        """The settings in sections that the user gave, each as `section.name`."""
        parts = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            f"{name}.{inner}"
            for name, part in parts.items()
            if isinstance(part, BaseModel)
            for inner in part.model_fields_set
        }

    def section(self, kind: type[Section]) -> Section:
        """The settings of a feature's section; its defaults where it is not among these."""
        told = getattr(self, name_of(kind), None)
        return kind(**dict(told) if isinstance(told, BaseModel) else {})


class Settings(Scoring):
    """How to run. A sampling field that is left out is the task's own.

    `format` is a prompt format (base, sft, chat or a .jinja file) for all models, or one a model;
    left out, each task's own. Several temperatures are a sweep: each model is asked at each of
    them. `methods` are the ways in which each is asked, plain sampling alone by default,
    and `human` is a file of people's answers.
    `data_dir` has data that would otherwise be downloaded. `system` is told to the model
    before each prompt, `chat_template_kwargs` and `reasoning_effort` to its chat template,
    `extra_body` to a server; `token_logprobs` keeps the log-probability of each generated token.
    `max_failed` is the share of a model's responses that may fail, `too_long` what becomes of a
    prompt that leaves no room for its response.
    """

    engine: str | None = None
    engine_args: dict[str, Any] = {}
    base_url: str | dict[str, str] | None = None
    samples: Count | None = None
    temperature: Temperature | tuple[Temperature, ...] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    max_tokens: Count | None = None
    top_k: Annotated[int, Field(ge=0, strict=True)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2, strict=True)] | None = None
    stop: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    system: str | None = None
    chat_template_kwargs: dict[str, Any] = {}
    reasoning_effort: str | None = None
    extra_body: dict[str, Any] = {}
    seeds: Literal["row", "run"] = "row"
    token_logprobs: bool = False
    max_failed: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.05
    too_long: Literal["fail", "skip"] = "fail"
    quantize: Literal["nf4"] | None = None
    data_dir: Path | None = None
    batch_size: Count = 128
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    methods: tuple[str, ...] = ("plain",)
    human: Path | None = None
    format: str | dict[str, str] | None = None
    trust_remote_code: bool = False

    def sampling(self) -> dict[str, Any]:
        """The sampling fields that were given, which hold for all models alike."""
        fields = (
            *("samples", "top_p", "max_tokens"),
            *("top_k", "min_p", "repetition_penalty", "stop"),
        )
        given = {name: value for name in fields if (value := getattr(self, name)) is not None}
        if self.temperature is not None and not isinstance(self.temperature, tuple):
            given["temperature"] = self.temperature
        return given

    @property
    def sweep(self) -> tuple[float, ...] | None:
        """The temperatures at which each model is asked; None where there is no sweep."""
        return self.temperature if isinstance(self.temperature, tuple) else None


class RunFile(Settings):
    """A YAML config file of `tofu-eval run`: the settings, and what to run."""

    models: dict[str, str] = {}
    tasks: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    output: Path | None = None


@cache
def with_sections(kind: type[Model], sections: tuple[type, ...]) -> type[Model]:
    """A kind of settings that also has the sections of features, each under its name.

    Raises:
        ConfigError: a section is called as a setting of tofu-eval's own.
    """
    parts: dict[str, Any] = {}
    for declared in sections:
        name = name_of(declared)
        if name in RunFile.model_fields:
            raise ConfigError(
                f"The section '{name}' of a feature is called as a setting that there is. "
                "Rename the section."
            )
        part = _model_of(declared)
        parts[name] = (part, part())
    made: type[Model] = create_model(kind.__name__, __base__=kind, **parts)
    return made


def _model_of(section: type) -> type[BaseModel]:
    """What checks a section: its fields with their kinds and bounds."""
    fields: dict[str, Any] = {s.name: (_with_bounds(s), s.default) for s in settings_of(section)}
    options = ConfigDict(extra="forbid", frozen=True)
    made: type[BaseModel] = create_model(section.__name__, __config__=options, **fields)
    return made


def _with_bounds(setting: Setting) -> Any:
    """The kind of a setting as pydantic checks it: a number is a number, within its bounds."""
    kind = setting.kind
    optional = NoneType in get_args(kind)
    if optional:
        kind = next(inner for inner in get_args(kind) if inner is not NoneType)
    if kind in (int, float):
        rules: dict[str, Any] = {"strict": True, "ge": setting.least, "le": setting.most}
        if kind is float:
            rules["allow_inf_nan"] = False
        kind = Annotated[kind, Field(**rules)]
    return kind | None if optional else kind


def read_yaml(path: Path, fields: str) -> dict[str, Any]:
    """The fields of a YAML file, read safely; a repeated key is refused.

    Args:
        path: the file.
        fields: examples of fields, for the message where it holds none.

    Raises:
        ConfigError: the file is not there, not YAML, or not a mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: more than {LARGEST >> 20} MiB, expected some settings.")
        values = load_yaml(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the config file {path}: {error.strerror or error}."
        ) from error
    except RepeatedKey as error:
        raise ConfigError(f"{path}:{error.line}: {error}. Remove one of them.") from error
    except (NotYaml, UnicodeDecodeError) as error:
        line = getattr(error, "line", None)
        where = f"{path}:{line}" if line else str(path)
        raise ConfigError(f"{where}: not YAML: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected fields such as {fields}, got {_shown(values)}.")
    return values


def make_validated(kind: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Make a `kind` of values.

    Args:
        kind: a pydantic model.
        values: its fields.
        where: what a message begins with: the file, or nothing.

    Raises:
        ConfigError: names the first field that is wrong, what it got and what it may be.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}{_words(kind, _first(error.errors()))}.") from error


def _first(details: list[ErrorDetails]) -> ErrorDetails:
    """The error to tell: of a list of temperatures that of its element, not that it is a list."""
    first = details[0]
    if first["loc"][0] == "temperature" and isinstance(first["input"], list | tuple):
        return next((d for d in details if not isinstance(d["input"], list | tuple)), first)
    return first


def _words(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """A pydantic error in the words of this house."""
    field, *inner = detail["loc"]
    path = _shorten(".".join(map(str, detail["loc"])))
    got = f"got {_shown(detail['input'])}"
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        part = _part(kind, field) if inner else None
        fields = [f"{field}.{name}" for name in part.model_fields] if part else [*kind.model_fields]
        close = difflib.get_close_matches(path, [*fields, *_paths(kind)], n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"unknown setting '{path}'.{hint} Known: {', '.join(fields)}"
    if field == "format":  # pydantic tells of each of the two shapes on its own
        return f"format should be {_FORMAT}, {got}"
    if field == "temperature":  # its two shapes are no place to look for
        path, inner = "temperature", []
    if detail["type"] in ("model_type", "model_attributes_type"):
        part = _part(kind, field)
        fields_of_it = f" with some of {', '.join(part.model_fields)}" if part else ""
        return f"{path} should be a mapping{fields_of_it}, {got}"
    rule = _RULES.get(detail["type"]) or detail["msg"].removeprefix("Input ")
    if inner and inner[-1] == "[key]":
        return f"a name in {field} {rule}, {got}"
    return f"{path} {rule}, {got}"


def _shown(value: object) -> str:
    """A value in a message, which a message has room for."""
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _part(kind: type[BaseModel], name: object) -> type[BaseModel] | None:
    """The model of a section; None for what is no section."""
    part = kind.model_fields[str(name)].annotation
    return part if isinstance(part, type) and issubclass(part, BaseModel) else None


def _paths(kind: type[BaseModel]) -> Iterator[str]:
    """`section.name` of every setting in a section."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in field.annotation.model_fields)


_FORMAT = (
    "base, sft, chat, paper, paper-math or a .jinja file, or a mapping with one of these for each "
    "model"
)
_RULES = {
    "tuple_type": "should be a list of names",
    "dict_type": "should be a mapping of names",
    "mapping_type": "should be a mapping of names",
    "string_type": "should be text (in quotes, where it looks like something else)",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
}
