"""Where the prompts of a task file are: the models of `file` and `dataset`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from jinja2 import TemplateSyntaxError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import model_validator as validator
from pydantic_core import PydanticCustomError

from tofu_eval.core.templates import compile_template

UNPINNED = "unpinned"
"""The `revision` of a dataset whose commit could not be known; a run records the one it read."""

ROWS = (".jsonl", ".parquet")
"""What a file of rows is called."""


def match_pattern(pattern: str, words: str) -> Callable[[str], str]:
    """A check that a text is of a pattern; `words` says what is wrong where it is not."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise PydanticCustomError("pattern", "{words}", {"words": words})
        return value

    return check


def or_text(value: Any, key: str) -> Any:
    """A mapping, or the text of its most common key."""
    if not isinstance(value, str | dict):
        raise PydanticCustomError("shape", "must be text or a mapping")
    return {key: value} if isinstance(value, str) else value


def as_list(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


def _template(value: str) -> str:
    try:
        compile_template(value)
    except TemplateSyntaxError as error:
        raise PydanticCustomError(
            "template", "is not a template: {why}", {"why": error.message or "cannot be parsed"}
        ) from error
    return value


Commit = Annotated[
    str,
    AfterValidator(
        match_pattern(
            rf"[0-9a-f]{{7,40}}|{UNPINNED}",
            "must be a commit of 40 hex digits, so that the data is pinned "
            f"(its first 7 or more will do; '{UNPINNED}' where none is known)",
        )
    ),
]
Sha256 = Annotated[str, AfterValidator(match_pattern(r"[0-9a-f]{64}", "must be 64 hex digits"))]
Url = Annotated[
    str,
    AfterValidator(
        match_pattern(
            r"https://[^\s/@]+/[^\s?#]*",
            "must begin with https:// and hold no password and no query",
        )
    ),
]
Template = Annotated[str, AfterValidator(_template)]
OneOf = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
"""A name, or several of which the first that is there counts."""


class Strict(BaseModel):
    """A part of a task file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answers(Strict):
    """Answers of people that are rows: of the prompt whose field `of` is the row's field `to`.

    `field` has the answer, `where` (Jinja) says which rows are answers; a prompt with fewer than
    `least` different ones is left out. Rows that are one prompt (the same `of`) become one.
    """

    field: str
    of: str
    to: str
    where: Template | None = None
    least: int = Field(default=2, ge=1)


class Fields(Strict):
    """Which field of a row holds what; without `id`, rows are numbered from 1.

    `paraphrases` and `human` are lists of texts: the prompt in other words, and answers of people;
    a row may lack them. Where the answers are rows of their own, `human_rows` says which.
    `template`, `answer`, `where` and the values of `computed` are Jinja over the row's fields:
    the prompt, its one reference, whether the row counts, and metadata by name.
    """

    prompt: OneOf = Field(default=["prompt"])
    id: str | None = None
    references: str | None = None
    paraphrases: str | None = None
    human: str | None = None
    human_rows: Answers | None = None
    metadata: list[str] = Field(default_factory=list)
    template: Template | None = None
    answer: Template | None = None
    where: Template | None = None
    computed: dict[str, Template] = Field(default_factory=dict)

    @validator(mode="after")
    def _one(self) -> Fields:
        for column, template in (("prompt", "template"), ("references", "answer")):
            if column in self.model_fields_set and getattr(self, template) is not None:
                raise PydanticCustomError(
                    "one_of", "needs only one of {a} and {b}", {"a": column, "b": template}
                )
        return self


class FileSource(Strict):
    """A file of rows: `path`, relative to the task file, or `url` with its `sha256`.

    `file: prompts.jsonl` is the short form. `rows` takes only that many, from the first on.
    """

    path: str | None = Field(default=None, min_length=1)
    url: Url | None = None
    sha256: Sha256 | None = None
    rows: int | None = Field(default=None, ge=1)
    fields: Fields = Fields()

    @validator(mode="before")
    @classmethod
    def _accept_short(cls, value: Any) -> Any:
        return or_text(value, "path")

    @validator(mode="after")
    def _one(self) -> FileSource:
        if (self.path is None) == (self.url is None):
            raise PydanticCustomError("one_of", "needs either path or url")
        if (self.url is None) != (self.sha256 is None):
            raise PydanticCustomError("one_of", "needs url and sha256 together")
        if self.url and not self.url.endswith(ROWS):
            words = " or ".join(ROWS)
            raise PydanticCustomError("one_of", "needs a url that ends in {w}", {"w": words})
        return self


class HubSource(Strict):
    """A dataset of the Hugging Face Hub at a pinned commit; of `split`, the first there is."""

    path: str = Field(min_length=1)
    split: OneOf
    revision: Commit
    name: str | None = None
    rows: int | None = Field(default=None, ge=1)
    fields: Fields = Fields()

    @property
    def folders(self) -> tuple[str, str]:
        """What its folder under a data directory may be called."""
        return self.path.replace("/", "__"), self.path
