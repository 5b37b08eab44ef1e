"""What run.json holds, so that a file edited into nonsense is named and not stumbled over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tofu_eval.core.names import LONGEST_NAME, NAME_PATTERN

FORMAT = 1
"""Version of a run directory's layout."""

Name = Annotated[
    str, StringConstraints(pattern=f"^{NAME_PATTERN.pattern}$", max_length=LONGEST_NAME)
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Model(_Part):
    identity: dict[str, Any]
    engine: str
    prompt_format: dict[Name, str]
    series: Name | None = None
    seed: int | None = None
    temperature: float | None = None


class _Task(_Part):
    version: int
    prompts: int
    digest: str
    sampling: dict[str, Any]


class _Settings(_Part):
    seed: int


class _Feature(_Part):
    identity: dict[str, Any]
    truncated: int


class _Metric(_Part):
    version: int
    direction: Literal["higher", "lower", "none"]
    measures: str
    range: Annotated[list[str], Field(min_length=2, max_length=2)]
    paper: str


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
    notes: list[str] = []
    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] | None = None
    tokens: dict[Name, dict[Name, int | None]] = {}


def problem(manifest: object) -> str | None:
    """What is wrong with the content of a run.json, in one clause; None where nothing is."""
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        return f"{where}: {first['msg'].removeprefix('Input ')}"
    return None
