"""Runs that differ by what a test wants, and their boards."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.tables import ESTIMATE_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Estimate, Score
from tofu_eval.leaderboard.board import Board, BoardRow, Source
from tofu_eval.leaderboard.build import board_of_run
from tofu_eval.leaderboard.schema import HASH, content_hash

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
    # Another seed, so that what several runs measured are measurements of their own.
    settings = {"seed": int(id[:2], 16)}
    return {
        **copy.deepcopy(manifest), "id": id, "models": described, "settings": settings, **changes
    }  # fmt: skip


def source(
    manifest: dict[str, Any],
    id: str,
    levels: dict[str, float],
    *,
    name: str = "",
    per_prompt: bool = True,
    scores: pa.Table | None = None,
    **changes: Any,
) -> Source:
    """The board of such a run."""
    table = study(levels) if scores is None else scores
    told = manifest_of(manifest, id, *levels, **changes)
    made = board_of_run(means(table), told, table, name=name or f"{id[0]}.json")
    return made if per_prompt else replace(made, scores=None)


def name_of(board: Board, row: BoardRow) -> str:
    """What the model of a row is called."""
    return board.model_by_id[row.model].name


def ranks(board: Board) -> dict[str, int | None]:
    """The rank of each model, by name."""
    return {name_of(board, row): row.rank for row in board.rows}


def with_row(board: Board, place: int, **changes: Any) -> Board:
    """The board with another row in the place of one."""
    rows = list(board.rows)
    rows[place] = replace(rows[place], **changes)
    return replace(board, rows=tuple(rows))


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a board's file as somebody does who knows how to make its hash."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    content[HASH] = content_hash(content)
    path.write_text(json.dumps(content), "utf-8")
