"""The per-prompt rows of a board: a Parquet file beside it, whose hash the board holds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import SCORE_SCHEMA

BOARD_SCORE_SCHEMA = pa.schema([pa.field("run", pa.string(), nullable=False), *SCORE_SCHEMA])
"""SCORE_SCHEMA with the run; model, task and metric are ids of the board."""

Place = tuple[str, str, str, str]
"""Run, model, task and metric: which row of a board something is of."""

PLACE = ("run", "model", "task", "metric")
SUM_LENGTH = 16


def place_of(row: Mapping[str, Any]) -> Place:
    """Which row of a board this is of."""
    return row["run"], row["model"], row["task"], row["metric"]


def places_of(scores: pa.Table) -> set[Place]:
    """Which rows of a board have per-prompt rows."""
    return {place_of(row) for row in scores.group_by(list(PLACE)).aggregate([]).to_pylist()}


def of_run(run: str, scores: pa.Table | None) -> pa.Table:
    """The scores of a run as rows of a board; no rows for None."""
    if scores is None:
        return BOARD_SCORE_SCHEMA.empty_table()
    column = pa.array([run] * len(scores), pa.string())
    return scores.select(SCORE_SCHEMA.names).add_column(0, BOARD_SCORE_SCHEMA.field(0), column)


def of_prompts(scores: pa.Table) -> pa.Table:
    """The rows that an interval and a test stand on.

    A value of the whole corpus has no prompt; where the place has rows of prompts, or of blocks of
    them, beside it, it is not one of them.
    """
    whole = pc.is_null(scores.column("prompt_id"))
    if not pc.any(whole).as_py():
        return scores
    others = places_of(scores.filter(pc.invert(whole)))
    keep = np.ones(len(scores), dtype=np.bool_)
    for index in np.flatnonzero(whole.to_numpy()).tolist():
        place = tuple(scores.column(name)[index].as_py() for name in PLACE)
        keep[index] = place not in others
    return scores.filter(pa.array(keep))


def pack(scores: pa.Table, stem: str) -> tuple[dict[str, Any], bytes]:
    """What a board says of its per-prompt rows, and the file's bytes.

    The file is called by its content, so that a board and its rows are replaced together: the new
    rows lie beside the old ones until the new board does.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(scores.select(BOARD_SCORE_SCHEMA.names), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    sum = hashlib.sha256(content).hexdigest()
    file = f"{stem}-{sum[:SUM_LENGTH]}.parquet"
    return {"file": file, "sha256": sum, "rows": len(scores)}, content


def read_scores(board: Mapping[str, Any], folder: Path) -> pa.Table | None:
    """The per-prompt rows of a board in `folder`; None where it has none.

    Raises:
        DataError: the file is missing, is another than the board says, is no such table, or has
            rows of what is not in the board.
    """
    described = board["scores"]
    if described is None:
        return None
    path = folder / described["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read the per-prompt rows {path}: {error.strerror or error}. Copy that file "
            "beside the board, or build it without: tofu-eval leaderboard build RUN --output FILE"
        ) from error
    return parse_scores(board, content, path)


def parse_scores(board: Mapping[str, Any], content: bytes, name: object) -> pa.Table:
    """The same of a file's bytes; `name` is what messages call it."""
    remedy = "Get the file that belongs to the board, or build both again."
    described = board["scores"]
    found = hashlib.sha256(content).hexdigest()
    if found != described["sha256"]:
        raise DataError(
            f"{name}: expected the SHA-256 {described['sha256']} that the board says, got {found}. "
            f"{remedy}"
        )
    try:
        # One file, no dataset discovery, and no extension types of the file's own choice.
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        table = table.select(BOARD_SCORE_SCHEMA.names).cast(BOARD_SCORE_SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name} is no table of per-prompt rows: {reason}. {remedy}") from error
    if len(table) != described["rows"]:
        raise DataError(
            f"{name}: expected {described['rows']} rows, as the board says, got {len(table)}. "
            f"{remedy}"
        )
    for place in places_of(table) - {place_of(row) for row in board["rows"]}:
        raise DataError(f"{name} has per-prompt rows of {place}, the board none. {remedy}")
    return table


def check_scores(board: Mapping[str, Any], scores: pa.Table, name: object) -> None:
    """Refuse per-prompt rows that do not give the board's numbers.

    Raises:
        DataError: a row's counts, or the value of a mean, are others than its per-prompt rows say.
    """
    nulls = pc.CountOptions("only_null")
    told = (
        of_prompts(scores)
        .group_by(list(PLACE))
        .aggregate([("value", "mean"), ("value", "count"), ("value", "count", nulls)])
    )
    told = told.rename_columns([*PLACE, "value", "n", "undefined"])
    found = {place_of(row): row for row in told.to_pylist()}
    for i, row in enumerate(board["rows"]):
        own = found.get(place_of(row), row)
        for fact in ("n", "undefined", "value"):
            if fact == "value" and not row["method"].startswith("mean"):
                continue
            if not _agree(row[fact], own[fact]):
                raise DataError(
                    f"{name} at $.rows[{i}].{fact}: expected {own[fact]}, which its per-prompt "
                    f"rows give, got {row[fact]}. Get the board from who made it, or build it anew."
                )


def _agree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    # Sums in another order differ by rounding.
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
