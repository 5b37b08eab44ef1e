"""Runs that differ by what a test wants, and their boards."""

from __future__ import annotations

import copy
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.tables import ESTIMATE_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Estimate, Score
from tofu_eval.leaderboard import build_leaderboard
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.prompt_scores import of_run

A, B, C = ("a" * 16, "b" * 16, "c" * 16)


def study(levels: dict[str, float], *, spread: float = 1.0, prompts: int = 40) -> pa.Table:
    """Scores of models on `vendi`, each prompt's around the model's level, and on no other."""
    rows = []
    for number, (model, level) in enumerate(levels.items()):
        for i in range(prompts):
            # No two models have the same noise, and none is random.
            value = level + spread * math.sin(1.0 + 7.0 * i + 13.0 * number)
            rows.append(Score(model, "open-prompts", f"p{i}", "vendi", value, None, 10))
    return to_table(rows, SCORE_SCHEMA)


def means(scores: pa.Table) -> pa.Table:
    """The estimates of such scores."""
    rows = []
    for model in scores.column("model").unique().to_pylist():
        values = scores.filter(pc.equal(scores.column("model"), model)).column("value").to_numpy()
        mean = float(values.mean())
        rows.append(
            Estimate(
                model, "open-prompts", "vendi", mean, mean - 0.1, mean + 0.1, len(values), 0,
                "bootstrap", "vendi|v:1",
            )
        )  # fmt: skip
    return to_table(rows, ESTIMATE_SCHEMA)


def manifest_of(manifest: dict[str, Any], id: str, *models: str, **changes: Any) -> dict[str, Any]:
    """run.json of another run, with models that differ by their names only."""
    described = {
        name: {"identity": {"files": {"w": name}}, "engine": "hf", "prompt_format": {}}
        for name in models
    }
    return {**copy.deepcopy(manifest), "id": id, "models": described, **changes}


def source(
    manifest: dict[str, Any],
    id: str,
    levels: dict[str, float],
    *,
    name: str = "",
    per_prompt: bool = True,
    **changes: Any,
) -> Source:
    scores = study(levels)
    told = manifest_of(manifest, id, *levels, **changes)
    board = build_leaderboard(means(scores), told, scores)
    return Source(name or f"{id[0]}.json", board, of_run(id, scores) if per_prompt else None)
