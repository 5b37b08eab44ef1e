"""The per-prompt rows of a board: a Parquet file a run beside it, whose hash the board holds.

A run's file is called by the run and by its content. So what others publish changes nothing of it,
and a board and its rows are replaced together: new rows lie beside the old ones until the new board
does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tofu_eval.analysis.columns import mean_of_column
from tofu_eval.analysis.intervals import Interval, mean_intervals, within
from tofu_eval.core.bounded import MOST_OF_BOARD, check_rows, read_bounded
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import SCORE_SCHEMA
from tofu_eval.leaderboard.board import Board, BoardMetric, RowKey, ScoresFile

_TEXT = pa.dictionary(pa.int32(), pa.string())

_FILE_SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        *SCORE_SCHEMA,
        pa.field("cluster", pa.string()),
    ]
)
"""SCORE_SCHEMA with the run and the cluster of the prompt; the other names are ids of the board."""

_TEXTS = tuple(one.name for one in _FILE_SCHEMA if pa.types.is_string(one.type))

BOARD_SCORE_SCHEMA = pa.schema(
    [one.with_type(_TEXT) if one.name in _TEXTS else one for one in _FILE_SCHEMA]
)
"""The same in memory, where each text stands once: a board has millions of rows, and few models,
tasks, metrics and prompts."""

KEY = ("run", "model", "task", "metric")
_ORDER = ("task", "metric", "model", "run", "prompt_id")
_SUM_LENGTH = 16

ReadFile = Callable[[str], bytes | None]
"""The content of a file by its name, None where there is none."""


def in_order(scores: pa.Table) -> pa.Table:
    """The rows in the one order that files have them in; no copy of rows that are."""
    scores = scores.select(BOARD_SCORE_SCHEMA.names).unify_dictionaries()
    columns = [_places(scores, name)[0] for name in _ORDER]
    if not _are_in_order(columns):
        scores = scores.take(pa.array(np.lexsort(columns[::-1])))
    return scores.combine_chunks()


def _places(scores: pa.Table, name: str) -> tuple[NDArray[np.int32], NDArray[np.object_]]:
    """A column of texts as places in the sorted list of them, and that list; its last is None."""
    column = scores.column(name)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    texts = [*encoded.dictionary.to_pylist(), None]
    ordered = [*sorted(set(texts) - {None}), None]
    place = {text: i for i, text in enumerate(ordered)}
    places = np.array([place[text] for text in texts], dtype=np.int32)
    indices = encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    return places[indices], np.array(ordered, dtype=object)


def _are_in_order(columns: Sequence[NDArray[np.int32]]) -> bool:
    same = np.ones(max(0, len(columns[0]) - 1), dtype=np.bool_)
    for column in columns:
        if np.any(same & (column[1:] < column[:-1])):
            return False
        same &= column[1:] == column[:-1]
    return True


def _group(scores: pa.Table) -> tuple[pa.Table, list[RowKey], NDArray[np.int64]]:
    """The rows in order, the rows of the board that they are of, and where those of each begin.

    The last beginning is the end.
    """
    table = in_order(scores)
    columns = [_places(table, name) for name in KEY]
    begins = np.zeros(len(table), dtype=np.bool_)
    begins[:1] = True
    for places, _ in columns:
        begins[1:] |= places[1:] != places[:-1]
    starts = np.flatnonzero(begins)
    texts = (ordered[places[starts]].tolist() for places, ordered in columns)
    return table, list(zip(*texts, strict=True)), np.append(starts, len(table))


def row_keys(scores: pa.Table) -> set[RowKey]:
    """Which rows of a board have per-prompt rows."""
    return set(_group(scores)[1])


def defining_scores(scores: pa.Table) -> pa.Table:
    """The rows that an interval and a test stand on.

    A value of the whole corpus has no prompt; where it has rows of prompts, or of blocks of them,
    beside it, it is not one of them.
    """
    if not scores.column("prompt_id").null_count:
        return scores
    table, _, starts = _group(scores)
    whole = table.column("prompt_id").is_null().to_numpy()
    alone = np.repeat(whole[starts[:-1]], np.diff(starts))  # no prompt is the last in the order
    return table.filter(pa.array(~whole | alone))


def of_rows(scores: pa.Table, keys: Iterable[RowKey]) -> pa.Table:
    """The per-prompt rows of these rows of a board."""
    wanted = set(keys)
    table, there, starts = _group(scores)
    keep = np.array([key in wanted for key in there], dtype=np.bool_)
    return table if keep.all() else table.filter(pa.array(np.repeat(keep, np.diff(starts))))


def union(tables: Iterable[pa.Table]) -> pa.Table:
    """The per-prompt rows of several boards, each once, in order.

    Raises:
        DataError: two boards hold different values of one prompt in one run.
    """
    table = drop_copies(pa.concat_tables([BOARD_SCORE_SCHEMA.empty_table(), *tables]))
    again = _find_again(table, _ORDER)
    if again.any():
        cell = table.slice(int(np.flatnonzero(again)[0]), 1).to_pylist()[0]
        raise DataError(
            f"Two boards hold different values of '{cell['metric']}' for prompt "
            f"'{cell['prompt_id']}' of '{cell['task']}', model {cell['model']}, in the run "
            f"{cell['run']}, or one board holds two. One of them was changed: take the one that "
            "its maker published."
        )
    return table


def drop_copies(scores: pa.Table) -> pa.Table:
    """The rows in order, each once."""
    table = in_order(scores)
    if not _find_again(table, _ORDER).any():
        return table  # which is all of a large board, without a copy to compare
    again = _find_again(table, table.column_names)
    return table.filter(pa.array(~again))


def _find_again(table: pa.Table, names: Iterable[str]) -> NDArray[np.bool_]:
    """Which rows have in these columns what the row before has."""
    again = np.zeros(len(table), dtype=np.bool_)
    again[1:] = True
    for name in names:
        column = table.column(name)
        if name in _TEXTS:
            places, _ = _places(table, name)
            again[1:] &= places[1:] == places[:-1]
        else:
            values = column.to_numpy()
            none = column.is_null().to_numpy()
            again[1:] &= (none[1:] & none[:-1]) | (values[1:] == values[:-1])
    return again


def rows_of_run(scores: pa.Table, run: str) -> pa.Table:
    """The rows of one run, as its file has them."""
    return in_order(scores.filter(pc.equal(scores.column("run"), run))).cast(_FILE_SCHEMA)


def pack(scores: pa.Table, stem: str) -> dict[ScoresFile, bytes]:
    """What a board says of its per-prompt rows, and the bytes of each file."""
    files = {}
    for run in sorted(scores.column("run").unique().to_pylist()):
        own = rows_of_run(scores, run)
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
    table = in_order(pa.concat_tables(_parse_files(board, read, place)))
    for key in sorted(row_keys(table) - {row.key for row in board.rows}):
        raise DataError(f"{place} has per-prompt rows of {key}, the board none. {_REMEDY}")
    return table


def _parse_files(board: Board, read: ReadFile, place: str) -> Iterator[pa.Table]:
    for file in board.scores:
        content = read(file.file)
        if content is None:
            raise DataError(
                f"{place} has a board and not its per-prompt rows {file.file}. Put that file back, "
                "or publish to another place."
            )
        yield _parsed(file, content, f"{place}/{file.file}")


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
        names = pq.ParquetFile(pa.BufferReader(content)).schema_arrow.names
        texts = [name for name in _TEXTS if name in names]
        opened = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
        check_rows(opened.metadata.num_rows, len(content))
        table = opened.read(BOARD_SCORE_SCHEMA.names)
        table = table.select(BOARD_SCORE_SCHEMA.names)
        table.validate(full=True)  # a place may lie outside of its column's texts
        table = table.cast(BOARD_SCORE_SCHEMA)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
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


class ByRow(Mapping[RowKey, Mapping[Any, Any]]):
    """A column of the per-prompt rows by prompt id, for each row of a board.

    What is asked for is made then: all at once would be as many objects as there are prompts.
    """

    def __init__(self, scores: pa.Table, column: str) -> None:
        table, self._keys, self._starts = _group(scores)
        self._place = {key: i for i, key in enumerate(self._keys)}
        self._column = table.column(column).combine_chunks()
        self._prompts, self._ids = _places(table, "prompt_id")

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[RowKey]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._place

    def __getitem__(self, key: RowKey) -> Mapping[Any, Any]:
        place = self._place[key]
        start, end = self._starts[place], self._starts[place + 1]
        prompts = self._ids[self._prompts[start:end]].tolist()
        return dict(zip(prompts, self._column[start:end].to_pylist(), strict=True))

    def find_twice(self) -> RowKey | None:
        """The first row of the board that holds two values for one prompt; None where none does."""
        same = self._prompts[1:] == self._prompts[:-1]
        same[self._starts[1:-1] - 1] = False
        if not same.any():
            return None
        first = int(np.flatnonzero(same)[0])
        return self._keys[int(np.searchsorted(self._starts, first, "right")) - 1]


def values_by_row(scores: pa.Table) -> Mapping[RowKey, Values]:
    """Value by prompt id for each row of a board.

    Raises:
        DataError: two values for one prompt.
    """
    values = ByRow(scores, "value")
    if twice := values.find_twice():
        _, model, task, metric = twice
        raise DataError(
            f"The per-prompt rows hold two values of '{metric}' for one prompt of '{task}', "
            f"model '{model}', expected one. Build the board again: "
            "tofu-eval leaderboard build RUN --scores --output FILE"
        )
    return values


def clusters_by_row(scores: pa.Table) -> Mapping[RowKey, Mapping[str, str]]:
    """The cluster of each prompt for each row of a board whose prompts have any."""
    return ByRow(scores.filter(scores.column("cluster").is_valid()), "cluster")


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
    table, keys, starts = _group(scores.filter(scores.column("value").is_valid()))
    if not keys:
        return {}
    counts = table.column("n").to_numpy()
    least = np.minimum.reduceat(counts, starts[:-1]).tolist()
    most = np.maximum.reduceat(counts, starts[:-1]).tolist()
    return {
        key: low if low == high else None for key, low, high in zip(keys, least, most, strict=True)
    }


def is_close(one: float | None, other: float | None) -> bool:
    """Whether two numbers agree but for the rounding of sums in another order."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
