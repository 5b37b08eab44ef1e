"""Files that are whole or not there: written aside and renamed, checked by a sum in their names.

And one writer at a time for a directory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from tofu_eval.core.bounded import check_regular
from tofu_eval.core.errors import StoreError
from tofu_eval.core.memory import is_out_of_memory
from tofu_eval.core.tables import RESPONSE_SCHEMA, check_rows_of

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".tmp-"
LEFTOVER = re.compile(r"\.tmp-[0-9a-f]{32}")
DAMAGED = ".damaged-"
LOCK = ".lock"
SUM_LENGTH = 16
ROW_GROUP = 2048
GROUP_BYTES = 1 << 23
"""Rows that can be read without the others of their file, and about how many bytes these may have:
what bounds a reader's memory."""

_PASSING = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
"""Why the system gives no file that may well be whole."""

PART = re.compile(r"part-(\d+)(?:-([0-9a-f]{16}))?\.parquet$")

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How `s3://bucket/run` begins as a path; a drive of Windows has one letter."""

LATER = {"correct": pa.bool_()}
"""Columns that the tables of older versions lack; they are null there."""


def atomic_write(path: Path, write: Callable[[BinaryIO], object], *, tidy: bool = True) -> None:
    """Make `path` appear whole or not at all: temporary name, fsync, rename, fsync the folder.

    Args:
        path: the file.
        write: writes its content.
        tidy: also remove what others left half-written in its folder when they were killed.

    Raises:
        StoreError: the disk is full, read-only or gone; the file that was there is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if tidy:
            clear_leftovers(path.parent.glob(f"{TEMPORARY}*"))
        temporary, file = _open_temporary(path.parent)
        try:
            with file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:
                    temporary.replace(path)
            if fcntl is None:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. What is finished is kept: "
            "make room or choose another --output, then run the same command again."
        ) from error


def _open_temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file that `clear_leftovers` knows to be ours while we live."""
    while True:
        temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        file = temporary.open("xb")
        if fcntl is None:
            return temporary, file
        with suppress(OSError):  # a file system without locks: nobody clears there
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():  # nobody took it for a leftover before it was locked
            return temporary, file
        file.close()


def clear_leftovers(files: Iterable[Path]) -> None:
    """Remove those temporary files of `atomic_write` whose writers are dead.

    A writer holds a lock on its file, which the operating system drops when it dies; what cannot be
    locked or removed stays.
    """
    for file in files:
        if LEFTOVER.fullmatch(file.name) and file.is_file():
            with suppress(OSError):
                _remove_if_free(file)


def _remove_if_free(file: Path) -> None:
    if fcntl is not None:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
    else:
        file.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    atomic_write(path, lambda file: file.write(content))


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table atomically, with a checksum on every page, in row groups of ROW_GROUP."""
    atomic_write(path, lambda file: _write_table(table, file))


def write_part(folder: Path, table: pa.Table, number: int | None = None) -> Path:
    """Write a table atomically as a part file of a folder, its checksum in its name.

    By default it is the next one; with `number` it takes the place of the part of that number.
    Returns: the file.
    """
    sink = pa.BufferOutputStream()
    _write_table(table, sink)
    content = sink.getvalue()
    is_new = number is None
    if number is None:
        number = max(map(part_number, parts_of(folder)), default=-1) + 1
    sum = hashlib.sha256(content).hexdigest()[:SUM_LENGTH]
    path = folder / f"part-{number:06d}-{sum}.parquet"
    atomic_write(path, lambda file: file.write(content), tidy=False)
    for other in [] if is_new else parts_of(folder):
        if part_number(other) == number and other != path:
            remove_file(other)
    return path


def _write_table(table: pa.Table, file: Any) -> None:
    each = max(1, table.nbytes // max(1, len(table)))
    pq.write_table(
        table,
        file,
        compression="zstd",
        write_page_checksum=True,
        row_group_size=max(1, min(ROW_GROUP, GROUP_BYTES // each)),
    )


def read_parquet(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table that this module wrote.

    Raises:
        StoreError: the file is damaged, or has other columns than `schema`.
    """
    with readable(path):
        _check_sum(path)
        table = open_parquet(path).read()
        if schema is None:
            return table
        return check_rows_of(_with_later(table, schema.names), schema)


def check_table(path: Path) -> None:
    """Read a table that this module wrote from end to end, a row group at a time.

    Raises:
        StoreError: the file is damaged.
    """
    with readable(path):
        _check_sum(path)
        file = open_parquet(path)
        for number in range(file.num_row_groups):
            file.read_row_group(number)


def row_groups(path: Path) -> int:
    """How many row groups a table that this module wrote has; StoreError if it is damaged."""
    with readable(path):
        return int(open_parquet(path).num_row_groups)


def read_row_group(path: Path, number: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of one row group of a table of responses.

    Raises:
        StoreError: the file is damaged, or lacks a column.
    """
    with readable(path):
        table = open_parquet(path).read_row_group(number, columns=list(columns))
        schema = pa.schema([RESPONSE_SCHEMA.field(name) for name in columns])
        return check_rows_of(_with_later(table, columns), schema)


def _check_sum(path: Path) -> None:
    name = PART.match(path.name)
    if name and name[2]:
        check_regular(path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(name[2]):
            raise OSError("its content does not fit the checksum in its name")


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, with its pages' checksums looked at."""
    # One path, no dataset discovery: folder names are never read as data.
    check_regular(path)
    return pq.ParquetFile(path, page_checksum_verification=True)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what fails while a file is read into a StoreError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        remedy = (
            "Delete that file and run the same command again: only what it held is made again."
            if _says_damage(error)
            else "It may well be whole: mend that, then run the same command again."
        )
        raise StoreError(f"Cannot read {path}: {reason}. {remedy}") from error


def places_of(ids: pa.ChunkedArray, places: Mapping[str, int], where: Path) -> list[int]:
    """The place of the prompt of each row.

    Args:
        ids: of the prompts.
        places: of each prompt of the task.
        where: the rows are, for the message.

    Raises:
        StoreError: there is no such prompt.
    """
    try:
        return [places[id] for id in ids.to_pylist()]
    except KeyError as error:
        raise StoreError(
            f"{where} has responses to a prompt that the task has not, {error}. Look what is "
            "wrong: tofu-eval runs verify RUN"
        ) from error


def check_named(
    path: Path, table: pa.Table, models: Collection[str], tasks: Collection[str]
) -> None:
    """Refuse a table with rows of models or tasks that it should not have.

    Raises:
        StoreError: names the first.
    """
    for column, known in (("model", models), ("task", tasks)):
        if others := set(table.column(column).unique().to_pylist()) - {*known}:
            raise StoreError(
                f"{path} has rows of the {column} '{min(others)}', which are not its own. Delete "
                "that file and run the same command again: only what it held is made again."
            )


@contextmanager
def hold_lock(path: Path, *, wait: float = 0) -> Iterator[None]:
    """Keep other processes out of a directory, which is made, until the block ends.

    Args:
        path: the directory.
        wait: seconds to wait for another process to leave it.

    Raises:
        StoreError: another process is in it, or the directory cannot be made.
    """
    if ADDRESS.match(path.as_posix()):
        raise StoreError(
            f"{path} is an address, and runs and boards are written to a disk, which has locks and "
            "renames. Write to a folder and copy that: docs/scale.md"
        )
    lock = FileLock(path / LOCK)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # The operating system drops the lock when the process dies, however it dies.
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise StoreError(
            f"{path} is being written by another process. "
            "Wait for it to end, or use a new --output."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            f"Cannot write {path}: {getattr(error, 'strerror', None) or error}. "
            "Choose another --output."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_ours(name: str) -> bool:
    """Whether a name can stand in a run that was killed before its first file."""
    return name == LOCK or name.startswith(TEMPORARY)


def remove_file(path: Path) -> None:
    """Remove a file that may be gone.

    Raises:
        StoreError: the disk does not let us.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot remove {path}: {error.strerror or error}. What is finished is kept: mend "
            "that, then run the same command again."
        ) from error


def set_aside(file: Path) -> None:
    """Rename a damaged file, so that nothing reads it and nothing is lost.

    Raises:
        StoreError: the disk does not let us.
    """
    try:
        file.replace(file.with_name(DAMAGED + file.name))
    except OSError as error:
        raise StoreError(
            f"{file} is damaged and cannot be set aside: {error.strerror or error}. "
            "Remove it, then run the same command again."
        ) from error


def restore_file(file: Path, content: bytes) -> None:
    """Give a file the content that it had before, also where it was set aside meanwhile."""
    if not file.is_file() or file.read_bytes() != content:
        atomic_write(file, lambda stream: stream.write(content))
    aside = file.with_name(DAMAGED + file.name)
    if aside.is_file() and aside.read_bytes() == content:
        remove_file(aside)


def is_damage(error: StoreError) -> bool:
    """Whether a file that cannot be read is damaged; the machine may be short of something."""
    return error.__cause__ is None or _says_damage(error.__cause__)


def _says_damage(error: BaseException) -> bool:
    passing = isinstance(error, OSError) and error.errno in _PASSING
    return not (passing or is_out_of_memory(error))


def parts_of(folder: Path) -> list[Path]:
    """The part files, by number; whatever else lies there is not ours."""
    parts = (p for p in folder.glob("part-*.parquet") if PART.match(p.name))
    return sorted(parts, key=part_number)


def part_number(part: Path) -> int:
    """The number in a part file's name."""
    return int(part.stem.split("-")[1])


def _with_later(table: pa.Table, names: Sequence[str]) -> pa.Table:
    for name, kind in LATER.items():
        if name in names and name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    return table
