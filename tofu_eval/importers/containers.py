"""What rows come in: JSON of three shapes, CSV, Parquet, Arrow, Inspect's zip; packed or not.

A file is told by what it begins with, and by its name only where that says nothing. All are read a
bounded number of bytes at a time, but for a JSON object, which is one row.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from bz2 import BZ2File
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from tofu_eval.core.bounded import check_rows
from tofu_eval.core.errors import DataError, StoreError
from tofu_eval.importers import csv_rows, eval_log, json_rows
from tofu_eval.importers.base import on_one_line
from tofu_eval.importers.json_rows import BadLine

STDIN = Path("-")

SNIFFED = 1 << 16
"""Bytes of a file's beginning that tell what it is."""

TABLE_ROWS = 128
TABLE_BYTES = 1 << 26
DICTIONARY_BYTES = 1 << 30
"""Rows of a table that are unpacked at once, the bytes that they may have, and those if each row
names the longest value."""

LEAST_UNPACKED = 1 << 26
MOST_GROWTH = 100
"""A table or an archive in a packing grows by at most so much, or to so many bytes."""

OBJECTS = 16
"""Rows of a table that are Python objects at once: the texts of each may be megabytes."""

PACKED = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2",
}  # fmt: skip
ARROW_FILE = b"ARROW1"
BINARY = {
    b"PAR1": "parquet", ARROW_FILE: "arrow", b"\xff\xff\xff\xff": "arrow", b"PK\x03\x04": "eval",
}  # fmt: skip
SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow",
    ".eval": "eval",
}  # fmt: skip
TITLES = {
    "parquet": "Parquet", "arrow": "Arrow", "eval": "an Inspect log", "csv": "CSV",
    "json": "JSON", "jsonl": "JSONL",
}  # fmt: skip
ACCEPTED = "JSONL, JSON, CSV, Parquet, Arrow, or what tofu-eval importers list names"

DAMAGE = (
    pa.ArrowException, OSError, EOFError, ValueError, RecursionError, OverflowError,
    NotImplementedError, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What the readers of damaged files raise; OverflowError: a date for which Python has no room."""


def open_spool(folder: Path) -> IO[bytes]:
    """A file without a name, on the disk of `folder`: gone with this process, however it ends.

    Raises:
        StoreError: nothing can be written there.
    """
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise StoreError(
            f"Cannot write in {folder}: {error.strerror or error}. Choose another --output."
        ) from error


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Cannot write in {folder}: {error.strerror or error}. Make room, or choose an "
            "--output on another disk."
        ) from error


class Container:
    """One file and its rows, to be read as often as asked for.

    Args:
        path: the file; "-" is standard input.
        spool: where a pipe is kept while it is read.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path, spool: Path) -> None:
        self.path = path
        self.shown = "standard input" if path == STDIN else on_one_line(path)
        self.at = 0
        """The number of the line or row that was read last."""
        self.halves = json_rows.Halves()
        self._spool = spool
        self._packed = ""
        self.kind = ""
        self._file = self._open_file()
        with self._explain_failures():
            self.sha256 = _sum_of(self._file)
            start = self._sniff()
        self.kind = self._kind_of(start)
        self.is_empty = not start.strip()
        self.unit = {"jsonl": "line", "csv": "line", "eval": "sample"}.get(self.kind, "row")
        if self.kind == "json" and not start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            self.unit = "line"

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """All columns of a table; empty for what is no table."""
        if self.kind not in ("parquet", "arrow"):
            return []
        with self._explain_failures():
            return list(self._schema().names)

    def rows(self, columns: Sequence[str] = ()) -> Iterator[Any]:
        """The rows from the first to the last.

        Args:
            columns: what is read of a table, dotted, with all that lies below; by default all
                but times, bytes and decimals, which no format has.

        Raises:
            DataError: with the line or row, for what is damaged.
        """
        self.at = 0
        self.halves.count = 0
        with self._explain_failures():
            for at, row in self._number_rows(columns):
                self.at = at
                yield row

    def error(self, what: str, at: int | None = None) -> DataError:
        """A DataError that names the file and the line or row."""
        at = self.at if at is None else at
        place = f"{self.shown}, {self.unit} {at}" if at else self.shown
        return DataError(on_one_line(f"{place}: {what}"))

    # Opening

    def _open_file(self) -> IO[bytes]:
        try:
            if self.path == STDIN:
                return self._keep_pipe(sys.stdin.buffer)
            mode = self.path.stat().st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise DataError(f"{self.shown} is a device, which has no end. Name a file.")
            file = self.path.open("rb")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            with file:
                return self._keep_pipe(file)
        except OSError as error:
            raise DataError(
                f"Cannot read {self.shown}: {error.strerror or error}. Give a file of responses: "
                f"{ACCEPTED}."
            ) from error

    def _keep_pipe(self, pipe: IO[bytes]) -> IO[bytes]:
        """What a pipe gives, which it does only once."""
        file = open_spool(self._spool)
        with explain_full_disk(self._spool):
            shutil.copyfileobj(pipe, file)
        file.seek(0)
        return file

    def _sniff(self) -> bytes:
        """The first bytes, unpacked; what is packed and no text is unpacked to its end."""
        start: bytes = self._bytes().read(SNIFFED)
        self._packed = next((kind for magic, kind in PACKED.items() if start.startswith(magic)), "")
        if self._packed:
            start = self._bytes().read(SNIFFED)
            if start.startswith((*BINARY, *PACKED)):
                file = open_spool(self._spool)
                self._unpack(file)
                self._file.close()
                self._file, self._packed = file, ""
        return start

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _unpack(self, file: IO[bytes]) -> None:
        """Unpack what is no text, which is packed in itself: what grows too much is a bomb."""
        most, there = max(LEAST_UNPACKED, MOST_GROWTH * self._size()), 0
        source = self._bytes()
        while piece := source.read(SNIFFED):
            there += len(piece)
            if there > most:
                raise DataError(
                    f"{self.shown} unpacks to more than {most >> 20} MiB, {MOST_GROWTH} times its "
                    "size. Unpack it yourself, where you trust it."
                )
            with explain_full_disk(self._spool):
                file.write(piece)

    def _kind_of(self, start: bytes) -> str:
        for magic, kind in BINARY.items():
            if start.startswith(magic):
                return kind
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        last = suffixes[-1] if suffixes else ""
        if last in SUFFIXES:
            return SUFFIXES[last]  # which its reader will refuse
        text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
        if {".csv", ".tsv"} & set(suffixes) or csv_rows.is_table(text):
            return "csv"
        return "json" if json_rows.is_document(text) else "jsonl"

    def _bytes(self) -> Any:
        """The file from its beginning, unpacked as it is read."""
        self._file.seek(0)
        if not self._packed:
            return self._file
        kept = json_rows.keep_open(self._file)
        if self._packed == "gzip":
            return gzip.GzipFile(fileobj=kept)
        if self._packed == "zstd":
            return io.BufferedReader(_Zstandard(kept), SNIFFED)
        return lzma.LZMAFile(kept) if self._packed == "xz" else BZ2File(kept)

    # Rows

    def _number_rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
        if self.kind in ("parquet", "arrow"):
            return self._table_rows(columns)
        if self.kind == "eval":
            self._file.seek(0)
            return eval_log.read_samples(self._file, self.halves)
        if self.kind == "csv":
            return csv_rows.read_rows(self._bytes())
        read = json_rows.read_document if self.kind == "json" else json_rows.read_lines
        return read(self._bytes(), self.halves)

    def _table_rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
        number = 0
        for batch in self._batches(columns):
            batch.validate(full=True)  # what damaged buffers point to may end the process
            for start in range(0, len(batch), OBJECTS):
                for row in batch.slice(start, OBJECTS).to_pylist():
                    number += 1
                    yield number, row

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if self.kind == "arrow":
            reader = self._arrow()
            names = _top_level(reader.schema, columns)
            count = getattr(reader, "num_record_batches", None)
            batches = reader if count is None else map(reader.get_batch, range(count))
            yield from (batch.select(names) for batch in batches)
            return
        file = self._parquet()
        check_rows(file.metadata.num_rows, self._size())
        names = _leaves(file.schema_arrow, columns)
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            each = max(1, group.total_byte_size // max(1, group.num_rows))
            size = max(1, min(TABLE_ROWS, TABLE_BYTES // each, DICTIONARY_BYTES // _widest(group)))
            yield from file.iter_batches(size, row_groups=[number], columns=names)

    def _schema(self) -> pa.Schema:
        return (self._parquet() if self.kind == "parquet" else self._arrow()).schema

    def _parquet(self) -> Any:
        self._file.seek(0)
        # A buffer of its own, and no cache of whole columns: memory is bounded by the batch.
        return pq.ParquetFile(self._for_arrow(), buffer_size=SNIFFED, pre_buffer=False)

    def _arrow(self) -> Any:
        self._file.seek(0)
        magic = self._file.read(len(ARROW_FILE))
        self._file.seek(0)
        opened = pa.ipc.open_file if magic == ARROW_FILE else pa.ipc.open_stream
        return opened(self._for_arrow())

    def _for_arrow(self) -> pa.PythonFile:
        return pa.PythonFile(_WhatIsThere(self._file, self._size()), "r")

    @contextmanager
    def _explain_failures(self) -> Iterator[None]:
        """Turn what fails while the file is read into a DataError that names it."""
        try:
            yield
        except BadLine as error:
            raise self.error(f"{error}. Mend that {self.unit} and try again.", error.at) from error
        except UnicodeDecodeError as error:
            if self.kind not in ("csv", "json"):
                raise self._damage_error(error) from error
            raise self.error(
                f"not UTF-8 (byte {hex(error.object[error.start])}). Convert the file: "
                f"iconv -t UTF-8 {on_one_line(self.path.name)}",
                self.at + 1,
            ) from error
        except DAMAGE as error:
            raise self._damage_error(error) from error
        except MemoryError as error:  # Arrow says how many bytes a table asked for
            asked = re.search(r"size (\d+)", str(error))
            if not asked or int(asked[1]) < max(LEAST_UNPACKED, MOST_GROWTH * self._size()):
                raise
            raise self._damage_error(error) from error

    def _damage_error(self, error: Exception) -> DataError:
        said = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
        title = TITLES.get(self.kind, self._packed or "a file")
        where = f" after {self.unit} {self.at}" if self.at else ""
        return DataError(
            on_one_line(
                f"{self.shown} cannot be read as {title}{where}: {said}. Write it again and try "
                "again."
            )
        )


def read_rows(path: Path, columns: Sequence[str]) -> tuple[Iterator[tuple[int, object]], str]:
    """The rows of a file whose fields mean something to the caller.

    Args:
        path: the file; a pipe is kept in the working directory while it is read.
        columns: what is read of a table.
    Returns: (line or row number from 1, row) pairs, and the file's SHA-256.

    Raises:
        DataError: the file cannot be read, or (while iterating) a row is damaged.
    """
    container = Container(path, Path())

    def rows() -> Iterator[tuple[int, object]]:
        with container:
            for row in container.rows(columns):
                yield container.at, row

    return rows(), container.sha256


def _sum_of(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


class _WhatIsThere:
    """A file that is asked for what is left of it at most: damaged lengths are of any size."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))


class _Zstandard(io.RawIOBase):
    """Zstandard unpacked as it is read, frame after frame; a frame that is cut is an error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _widest(group: Any) -> int:
    """Bytes that a value may have which a column writes once and names in many rows."""
    columns = (group.column(number) for number in range(group.num_columns))
    sizes = (c.total_uncompressed_size for c in columns if c.has_dictionary_page)
    return max(1, max(sizes, default=1))


def _leaves(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """The columns to read, as Arrow's Parquet reader names them; a path has all that lies below."""
    if not columns:
        return [field.name for field in schema if not _is_odd(field.type)]
    return [path for path in columns if path.partition(".")[0] in schema.names]


def _top_level(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(path.partition(".")[0] for path in _leaves(schema, columns)))


def _is_odd(kind: pa.DataType) -> bool:
    """Whether values of a type mean nothing to any format: times, bytes, decimals."""
    kinds = (pa.types.is_temporal, pa.types.is_binary, pa.types.is_large_binary,
             pa.types.is_fixed_size_binary, pa.types.is_decimal)  # fmt: skip
    return any(is_kind(kind) for is_kind in kinds)
