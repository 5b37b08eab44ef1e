"""The per-prompt rows of a board: a Parquet file a run beside it, whose hash the board holds.

A run's file is called by the run and by its content. So what others publish changes nothing of it,
and a board and its rows are replaced together: new rows lie beside the old ones until the new board
does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tofu_eval.analysis.columns import mean_of_column
from tofu_eval.analysis.intervals import Interval, mean_intervals, within
from tofu_eval.core.bounded import MOST_OF_BOARD, read_bounded
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import SCORE_SCHEMA, to_columns
from tofu_eval.leaderboard.board import Board, BoardMetric, RowKey, ScoresFile

BOARD_SCORE_SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        *SCORE_SCHEMA,
        pa.field("cluster", pa.string()),
    ]
)
"""SCORE_SCHEMA with the run and the cluster of the prompt; the other names are ids of the board."""

KEY = ("run", "model", "task", "metric")
_ORDER = [(name, "ascending") for name in ("task", "metric", "model", "run", "prompt_id")]
_SUM_LENGTH = 16

ReadFile = Callable[[str], bytes | None]
"""The content of a file by its name, None where there is none."""


def row_keys(scores: pa.Table) -> set[RowKey]:
    """Which rows of a board have per-prompt rows."""
    keys = scores.group_by(list(KEY)).aggregate([]).to_pylist()
    return {(key["run"], key["model"], key["task"], key["metric"]) for key in keys}


def in_order(scores: pa.Table) -> pa.Table:
    """The rows in the one order that files have them in."""
    return scores.select(BOARD_SCORE_SCHEMA.names).sort_by(_ORDER).combine_chunks()


def defining_scores(scores: pa.Table) -> pa.Table:
    """The rows that an interval and a test stand on.

    A value of the whole corpus has no prompt; where it has rows of prompts, or of blocks of them,
    beside it, it is not one of them.
    """
    whole = pc.is_null(scores.column("prompt_id"))
    if not pc.any(whole).as_py():
        return scores
    others = row_keys(scores.filter(pc.invert(whole)))
    keep = np.ones(len(scores), dtype=np.bool_)
    for index in np.flatnonzero(whole.to_numpy()).tolist():
        key = tuple(scores.column(name)[index].as_py() for name in KEY)
        keep[index] = key not in others
    return scores.filter(pa.array(keep))


def of_rows(scores: pa.Table, keys: Iterable[RowKey]) -> pa.Table:
    """The per-prompt rows of these rows of a board."""
    wanted = set(keys)
    if row_keys(scores) <= wanted:
        return scores
    columns = zip(*to_columns(scores, KEY), strict=True)
    return scores.filter(pa.array([key in wanted for key in columns], pa.bool_()))


def union(tables: Iterable[pa.Table]) -> pa.Table:
    """The per-prompt rows of several boards, each once, in order.

    Raises:
        DataError: two boards hold different values of one prompt in one run.
    """
    tables = [BOARD_SCORE_SCHEMA.empty_table(), *tables]
    whole = pa.concat_tables(tables)
    runs = [run for table in tables for run in table.column("run").unique().to_pylist()]
    if len(runs) == len(set(runs)) and all(len(_cells_twice(table)) == 0 for table in tables):
        return in_order(whole)  # which is all of a large board, without a copy to compare
    names = BOARD_SCORE_SCHEMA.names
    distinct = whole.group_by(names).aggregate([]).select(names).cast(BOARD_SCORE_SCHEMA)
    twice = _cells_twice(distinct)
    if len(twice):
        cell = twice.slice(0, 1).to_pylist()[0]
        raise DataError(
            f"Two boards hold different values of '{cell['metric']}' for prompt "
            f"'{cell['prompt_id']}' of '{cell['task']}', model {cell['model']}, in the run "
            f"{cell['run']}, or one board holds two. One of them was changed: take the one that "
            "its maker published."
        )
    return in_order(distinct)


def _cells_twice(scores: pa.Table) -> pa.Table:
    """The run, model, task, metric and prompt of what stands in several rows."""
    counted = scores.group_by([*KEY, "prompt_id"]).aggregate([([], "count_all")])
    return counted.filter(pc.greater(counted.column("count_all"), 1))


def pack(scores: pa.Table, stem: str) -> dict[ScoresFile, bytes]:
    """What a board says of its per-prompt rows, and the bytes of each file."""
    files = {}
    for run in sorted(scores.column("run").unique().to_pylist()):
        own = in_order(scores.filter(pc.equal(scores.column("run"), run)))
        sink = pa.BufferOutputStream()
        pq.write_table(own, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        checksum = hashlib.sha256(content).hexdigest()
        name = f"{stem}-{run}-{checksum[:_SUM_LENGTH]}.parquet"
        files[ScoresFile(run, name, checksum, len(own))] = content
    return files


def read_scores(board: Board, folder: Path) -> pa.Table | None:
    """The per-prompt rows of a board in `folder`; None where it has none.

    Raises:
        DataError: a file is missing, is another than the board says, is no such table, or has
            rows of what is not in the board.
    """

    def read(name: str) -> bytes:
        path = folder / name
        try:
            return read_bounded(path, MOST_OF_BOARD)
        except OSError as error:
            raise DataError(
                f"Cannot read the per-prompt rows {path}: {error.strerror or error}. Copy that "
                "file beside the board, or build it without: tofu-eval leaderboard build RUN "
                "--output FILE"
            ) from error

    return parse_scores(board, read, str(folder))


def parse_scores(board: Board, read: ReadFile, place: str) -> pa.Table | None:
    """The same where `read` gives a file's bytes; `place` is what messages call where they lie."""
    if not board.scores:
        return None
    tables = []
    for file in board.scores:
        content = read(file.file)
        if content is None:
            raise DataError(
                f"{place} has a board and not its per-prompt rows {file.file}. Put that file back, "
                "or publish to another place."
            )
        tables.append(_parsed(file, content, f"{place}/{file.file}"))
    table = pa.concat_tables(tables)
    for key in sorted(row_keys(table) - {row.key for row in board.rows}):
        raise DataError(f"{place} has per-prompt rows of {key}, the board none. {_REMEDY}")
    return table


_REMEDY = "Get the file that belongs to the board, or build both again."


def _parsed(file: ScoresFile, content: bytes, name: str) -> pa.Table:
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != file.sha256:
        raise DataError(
            f"{name}: expected the SHA-256 {file.sha256} that the board says, got {checksum}. "
            f"{_REMEDY}"
        )
    try:
        # One file, no dataset discovery, and no extension types of the file's own choice.
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        table = table.select(BOARD_SCORE_SCHEMA.names).cast(BOARD_SCORE_SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name} is no table of per-prompt rows: {reason}. {_REMEDY}") from error
    if len(table) != file.rows:
        raise DataError(
            f"{name}: expected {file.rows} rows, as the board says, got {len(table)}. {_REMEDY}"
        )
    if strangers := set(table.column("run").unique().to_pylist()) - {file.run}:
        raise DataError(
            f"{name}: expected rows of the run {file.run}, got those of {min(strangers)}. {_REMEDY}"
        )
    return table


Values = Mapping[str | None, float | None]


def values_by_row(scores: pa.Table) -> dict[RowKey, Values]:
    """Value by prompt id for each row of a board.

    Raises:
        DataError: two values for one prompt.
    """
    values: dict[RowKey, dict[str | None, float | None]] = {}
    names = (*KEY, "prompt_id", "value")
    for run, model, task, metric, prompt, value in zip(*to_columns(scores, names), strict=True):
        column = values.setdefault((run, model, task, metric), {})
        if prompt in column:
            raise DataError(
                f"The per-prompt rows hold two values of '{metric}' for one prompt of '{task}', "
                f"model '{model}', expected one. Build the board again: "
                "tofu-eval leaderboard build RUN --scores --output FILE"
            )
        column[prompt] = value
    return dict(values)


def clusters_by_row(scores: pa.Table) -> dict[RowKey, dict[str, str]]:
    """The cluster of each prompt for each row of a board whose prompts have any."""
    there = scores.filter(pc.is_valid(scores.column("cluster")))
    clusters: dict[RowKey, dict[str, str]] = {}
    names = (*KEY, "prompt_id", "cluster")
    for *key, prompt, cluster in zip(*to_columns(there, names), strict=True):
        clusters.setdefault(tuple(key), {})[prompt] = cluster
    return clusters


def interval_of(
    values: Values, metric: BoardMetric, clusters: Mapping[str, str] | None = None
) -> Interval:
    """The mean over prompts with its 95% interval, as estimates are made; over clusters of them."""
    if clusters is not None:
        mean, _, _ = mean_of_column([dict(values)], clusters)
        return within(mean, metric.range)
    column = np.sort(np.array(list(values.values()), dtype=np.float64))
    return within(mean_intervals(column[None])[0], metric.range)


def responses_by_row(scores: pa.Table) -> dict[RowKey, int | None]:
    """The number of responses that all prompts with a value have; None where they differ."""
    defined = scores.filter(pc.is_valid(scores.column("value")))
    ends = defined.group_by(list(KEY)).aggregate([("n", "min"), ("n", "max")])
    return {
        (row["run"], row["model"], row["task"], row["metric"]): (
            row["n_min"] if row["n_min"] == row["n_max"] else None
        )
        for row in ends.to_pylist()
    }


def is_close(one: float | None, other: float | None) -> bool:
    """Whether two numbers agree but for the rounding of sums in another order."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
