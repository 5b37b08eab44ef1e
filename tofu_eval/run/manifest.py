"""What run.json holds, so that a file edited into nonsense is named and not stumbled over."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tofu_eval.core.config import Settings
from tofu_eval.core.names import LONGEST_NAME, NAME_PATTERN

FORMAT = 1
"""Version of a run directory's layout."""

Name = Annotated[
    str, StringConstraints(pattern=f"^{NAME_PATTERN.pattern}$", max_length=LONGEST_NAME)
]


MOST = 2**53
"""Of what is counted: numbers that a page can hold."""

Count = Annotated[int, Field(ge=0, le=MOST)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Package(_Part):
    name: str
    version: str


class _Record(_Part):
    remarks: list[str] = []
    chat_template: str | None = None


class _Model(_Part):
    identity: dict[str, Any]
    engine: str
    prompt_format: dict[Name, str]
    series: Name | None = None
    seed: int | None = None
    temperature: float | None = None
    method: str | None = None
    asked_model: str | None = None
    responses: dict[Name, Count] = {}
    given: dict[Name, list[str]] = {}
    record: _Record | None = None


class _Sampling(_Part):
    samples: Count | None = None
    temperature: float | None = None


class _Task(_Part):
    version: int
    prompts: Count
    digest: str
    sampling: _Sampling
    rows: Count | None = None
    licence: str = ""
    source: str = ""
    citation: str = ""
    cluster: str | None = None
    scoring: str | None = None
    verifier: str | None = None
    package: _Package | None = None


class _Settings(_Part):
    seed: int
    responses: int | None = None
    truncate: int | None = None

    @model_validator(mode="after")
    def _check_sections(self) -> Self:
        """What is no setting of a run is a section: of the features that were installed."""
        for name, value in (self.model_extra or {}).items():
            if name not in Settings.model_fields and not isinstance(value, dict):
                raise PydanticCustomError(
                    "section", "{name} should be a dictionary", {"name": name}
                )
        return self


class _Feature(_Part):
    identity: dict[str, Any]
    truncated: int


class _Metric(_Part):
    version: int
    direction: Literal["higher", "lower", "none"]
    measures: str
    range: Annotated[list[str], Field(min_length=2, max_length=2)]
    paper: str
    level: str = "group"
    sees: str = "other"
    unit: str = ""
    bias: str = ""
    human: float | None = None
    length_sensitive: bool = False
    count_sensitive: bool = False
    package: _Package | None = None


class _States(_Part):
    responses: Count
    unfinished: Count
    empty: Count
    filtered: Count
    failed: Count


class _Unread(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    texts: Count
    total: Count
    metrics: list[str]


class _Tool(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    version: str
    git_revision: str | None


class _Manifest(_Part):
    format: int
    status: str
    models: dict[Name, _Model]
    tasks: dict[Name, _Task]
    settings: _Settings | None = None
    timings: dict[str, float] = {}
    features: dict[str, _Feature] = {}
    metrics: dict[str, _Metric] = {}
    scored: list[Annotated[list[str], Field(min_length=3, max_length=3)]] = []
    scored_metrics: dict[Name, list[str]] = {}
    notes: list[str] | None = None
    prompt_remarks: dict[Name, list[str]] = {}
    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] | None = None
    tokens: dict[Name, dict[Name, Count | None]] = {}
    states: dict[Name, dict[Name, _States]] = {}
    unread: dict[Name, dict[Name, _Unread]] = {}
    tool: _Tool | None = None
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    machines: list[dict[str, Any]] = []
    created: str | None = None
    finished: str | None = None

    @model_validator(mode="after")
    def _check_beginning(self) -> Self:
        """What a command writes before it scores anything, and what is left out, not null."""
        for name in ("settings", "tool", "created", "notes"):
            if getattr(self, name) is None and (self.scored or name in self.model_fields_set):
                raise PydanticCustomError("beginning", "has no '{name}'", {"name": name})
        return self


def problem(manifest: object) -> str | None:
    """What is wrong with the content of a run.json, in one clause; None where nothing is."""
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}:" if first["loc"] else "it"
        return f"{where} {first['msg'].removeprefix('Input ')}"
    return None
