"""Responses on their way into a run: all but the last few lie in a file without a name.

So files of any size are checked to their end before anything of them enters a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from tofu_eval.core.tables import RESPONSE_SCHEMA
from tofu_eval.core.types import Response
from tofu_eval.importers.containers import explain_full_disk, open_spool

ROWS = 4096
CHARACTERS = 1 << 23
"""Rows of a model that are held in memory, and the characters that they may have."""

STEP = 1 << 19
"""Characters after which a model says how much of it is in memory."""

ALL_CHARACTERS = 1 << 25
"""The same of all models together."""

LONG = 4096
"""Bytes of a row from which on rows are packed: long texts may be one text over and over."""

LISTS = ("key", "prompt_id", "sample", "text")
"""What every row has of its own, of its key the prompt's part; what is said of some of them is kept
by the number of the row."""

FINISHED = "finished"


class Spool:
    """Where the rows of all models of one call lie.

    Args:
        folder: on whose disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._pending: dict[Rows, int] = {}

    def write(self, batch: pa.RecordBatch) -> int:
        """Put rows on the disk; where they begin there."""
        with explain_full_disk(self._folder):
            if self._file is None:
                self._file = open_spool(self._folder)
            start = self._file.seek(0, 2)
            packed = batch.nbytes > LONG * len(batch)
            options = pa.ipc.IpcWriteOptions(compression="lz4" if packed else None)
            with pa.ipc.new_stream(self._file, batch.schema, options=options) as writer:
                writer.write_batch(batch)
            self._file.flush()
        return start

    def read(self, start: int) -> pa.Table:
        """Rows that `write` put there."""
        if self._file is None:
            raise ValueError("nothing was written")
        self._file.seek(start)
        return pa.ipc.open_stream(self._file).read_all()

    def weigh(self, rows: Rows, characters: int) -> None:
        """Told how much of a model is in memory; puts all of it away when it is too much."""
        self._pending[rows] = characters
        if sum(self._pending.values()) > ALL_CHARACTERS:
            for each in list(self._pending):
                each.flush()


class Rows:
    """The responses of one model, in their order."""

    def __init__(self, model: str, task: str, spool: Spool) -> None:
        self._model = model
        self._task = task
        self._spool = spool
        self._columns: tuple[list[Any], ...] = tuple([] for _ in LISTS)
        self._said: dict[str, dict[int, Any]] = {}
        self._characters = 0
        self._told = STEP
        self._starts: list[int] = []
        self._flushed = 0

    def add_texts(self, key: str, prompt_id: str, start: int, texts: Sequence[str]) -> None:
        """Add finished responses of which nothing else is known.

        Args:
            key: how the keys of the prompt's responses begin.
            prompt_id: of all of them.
            start: the sample number of the first.
            texts: one each, none of them blank.
        """
        keys, ids, samples, column = self._columns
        count = len(texts)
        if count == 1:
            keys.append(key)
            ids.append(prompt_id)
            samples.append(start)
            column.append(texts[0])
            self._characters += len(texts[0])
        else:
            keys += [key] * count
            ids += [prompt_id] * count
            samples += range(start, start + count)
            column += texts
            self._characters += sum(map(len, texts))
        if self._characters > self._told or len(keys) >= ROWS:
            self._put_away()

    def add(self, key: str, prompt_id: str, sample: int, text: str, **said: Any) -> None:
        """Add one response and what is said of it, by column."""
        row = len(self._columns[0])
        values = (key, prompt_id, sample, text)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        for name, value in said.items():
            if value is not None and value != FINISHED:
                self._said.setdefault(name, {})[row] = value
        self._characters += len(text) + len(said.get("reasoning") or "")
        if self._characters > self._told or len(self._columns[0]) >= ROWS:
            self._put_away()

    def _put_away(self) -> None:
        """Put what is in memory on the disk where it is much, or else say how much it is."""
        if len(self._columns[0]) >= ROWS or self._characters > CHARACTERS:
            self.flush()
        else:
            self._told = self._characters + STEP
            self._spool.weigh(self, self._characters)

    def flush(self) -> None:
        """Put what is in memory on the disk."""
        if self._columns[0]:
            self._starts.append(self._spool.write(self._batch()))
            self._flushed += len(self._columns[0])
            self._columns = tuple([] for _ in LISTS)
            self._said = {}
        self._characters, self._told = 0, STEP
        self._spool.weigh(self, 0)

    def tables(self) -> Iterator[pa.Table]:
        """All rows as tables of RESPONSE_SCHEMA, some thousand at a time."""
        for start in self._starts:
            yield self._spool.read(start)
        if self._columns[0]:
            yield pa.Table.from_batches([self._batch()])

    def __iter__(self) -> Iterator[Response]:
        for table in self.tables():
            for row in table.to_pylist():
                yield Response(**{**row, "given": dict(row["given"]) if row["given"] else None})

    def __len__(self) -> int:
        return self._flushed + len(self._columns[0])

    def _batch(self) -> pa.RecordBatch:
        count = len(self._columns[0])
        columns = dict(zip(LISTS, self._columns, strict=True))
        usual = {"model": self._model, "task": self._task, "state": FINISHED}
        arrays = []
        for field in RESPONSE_SCHEMA:
            said = self._said.get(field.name)
            if field.name == "key":
                arrays.append(_keys(columns["key"], columns["sample"]))
            elif field.name in columns:
                arrays.append(pa.array(columns[field.name], field.type))
            elif said:
                value = usual.get(field.name)
                arrays.append(pa.array([said.get(i, value) for i in range(count)], field.type))
            elif field.name in usual:
                arrays.append(pa.repeat(usual[field.name], count))
            else:
                arrays.append(pa.nulls(count, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=RESPONSE_SCHEMA)


def _keys(prompts: Sequence[str], samples: Sequence[int]) -> pa.Array:
    """The keys of responses: that of their prompt, and the sample number in eight digits."""
    numbers = pc.utf8_lpad(pc.cast(pa.array(samples, pa.int32()), pa.string()), 8, "0")
    return pc.binary_join_element_wise(pa.array(prompts, pa.string()), numbers, "")
