"""What models said of texts, kept in a run: rows of numbers by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tofu_eval.core.errors import StoreError
from tofu_eval.core.tables import check_rows_of
from tofu_eval.run.files import (
    open_parquet,
    part_number,
    parts_of,
    read_parquet,
    readable,
    write_part,
)

BYTES_IN_MEMORY = 1 << 27
"""Rows of a feature that a cache keeps at hand; the others are read again when needed. Texts are
featurized by their length and scored by their prompt, so what is scored next lies in many parts."""

ROWS_OF_PART = 1 << 32
"""More than a part has."""


_KEYS = pa.schema([pa.field("key", pa.string(), nullable=False)])
_ROWS = pa.schema([pa.field("row", pa.list_(pa.float32()))])


class FeatureCache:
    """Rows of numbers by key, in part files: what a model has computed is never computed again.

    Only the keys and the last few parts are in memory; without a folder, all rows are.
    `truncated` counts the rows whose text was too long for the model.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._place: dict[str, int] = {}  # part and row as one number: there may be millions
        self._parts: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._bytes = 0
        self.truncated = 0
        self._files: dict[int, Path] = {}
        for part in parts_of(folder) if folder else ():
            with readable(part):
                file = open_parquet(part)
                if {"key", "row"} - set(file.schema_arrow.names):
                    raise StoreError(
                        f"{part} is not a part of a feature: it has no columns 'key' and 'row'. "
                        "Delete that file and run the same command again: only what it held is "
                        "made again."
                    )
                keys = check_rows_of(file.read(["key"]), _KEYS).column("key").to_pylist()
                metadata = file.schema_arrow.metadata or {}
                truncated = int(metadata.get(b"truncated", 0))
            number = part_number(part)
            self._files[number] = part
            self._place.update(zip(keys, count(number * ROWS_OF_PART), strict=False))
            self.truncated += truncated

    def keys(self) -> list[str]:
        """All keys that have a row."""
        return list(self._place)

    def find_missing(self, keys: Iterable[str]) -> list[str]:
        """The distinct keys that have no row yet, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._place]

    def add(self, keys: Sequence[str], rows: NDArray[np.float32], truncated: int = 0) -> None:
        """Keep new rows, (len(keys), width), as a part file of their own."""
        if len(keys) != len(rows):
            raise StoreError(f"{len(keys)} keys and {len(rows)} rows do not fit in a feature part.")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        number = len(self._parts)
        if self._folder:
            column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
            table = pa.table({"key": pa.array(list(keys)), "row": column})
            table = table.replace_schema_metadata({"truncated": str(truncated)})
            path = write_part(self._folder, table)
            number = part_number(path)
            self._files[number] = path
        self.truncated += truncated
        self._place.update(zip(keys, count(number * ROWS_OF_PART), strict=False))
        self._keep(number, rows)

    def rows(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """The rows of `keys`, (len(keys), width); all must be there."""
        if not keys:
            return np.empty((0, 0), dtype=np.float32)
        places = [divmod(self._place[key], ROWS_OF_PART) for key in keys]
        parts = {number: self._part(number) for number in dict.fromkeys(n for n, _ in places)}
        with readable(self._folder or Path()):  # parts of others may differ in width
            return np.stack([parts[number][row] for number, row in places])

    def _part(self, number: int) -> NDArray[np.float32]:
        if number in self._parts:
            self._parts.move_to_end(number)
            return self._parts[number]
        with readable(self._files[number]):
            table = check_rows_of(read_parquet(self._files[number]), _ROWS)
            column = table.column("row").combine_chunks()
            values = column.flatten().to_numpy(zero_copy_only=False)
            if column.null_count or len({*pc.list_value_length(column).to_pylist()}) > 1:
                raise ValueError("its rows are not of one width")
            rows: NDArray[np.float32] = values.reshape(len(column), -1)
        self._keep(number, rows)
        return rows

    def _keep(self, number: int, rows: NDArray[np.float32]) -> None:
        self._parts[number] = rows
        self._bytes += rows.nbytes
        while self._folder and self._bytes > BYTES_IN_MEMORY and len(self._parts) > 1:
            self._bytes -= self._parts.popitem(last=False)[1].nbytes
