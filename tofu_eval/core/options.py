"""The keywords of `te.evaluate`, `te.score_files` and `te.score`, for editors and type checkers.

They are the fields of `core/config.py`, where they are explained and checked, and the sections of
the features that come with this package. A section of a plug-in is taken too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

Section = Mapping[str, Any]


class ScoringOptions(TypedDict, total=False):
    """What matters where nothing is generated."""

    metrics: Sequence[str]
    truncate: int | None
    tokenizer: Literal["auto", "published", "char"]
    unfinished: Literal["keep", "drop"]
    reasoning: Literal["strip", "keep"]
    reasoning_tags: Sequence[str]
    responses: int | None
    limit: int | None
    seed: int
    workers: int
    scoring: Literal["here", "ray"]
    scoring_args: Mapping[str, Any]
    device: str | None
    isolate: bool | None
    embedding: Section
    equivalence: Section
    harm: Section
    judge: Section
    likelihood: Section
    nli: Section
    pos: Section
    refusals: Section
    reward: Section
    training: Section
    verifier: Section


class RunOptions(ScoringOptions, total=False):
    """How a run is made."""

    engine: str | None
    engine_args: Mapping[str, Any]
    base_url: str | Mapping[str, str] | None
    samples: int | None
    temperature: float | Sequence[float] | None
    top_p: float | None
    max_tokens: int | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    stop: Sequence[str] | None
    system: str | None
    chat_template_kwargs: Mapping[str, Any]
    reasoning_effort: str | None
    extra_body: Mapping[str, Any]
    seeds: Literal["row", "run"]
    token_logprobs: bool
    max_failed: float
    too_long: Literal["fail", "skip"]
    quantize: Literal["nf4"] | None
    data_dir: Path | str | None
    batch_size: int
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None
    methods: Sequence[str]
    human: Path | str | None
    format: str | Mapping[str, str] | None
    trust_remote_code: bool
