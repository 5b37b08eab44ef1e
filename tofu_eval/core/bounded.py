"""Small files of others, read whole but not without end: a link may lead to a device or a pipe."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MOST = 256 << 20
"""Bytes of settings, a manifest, a configuration."""

MOST_OF_BOARD = 2 << 30
"""Bytes of a board, or of one file of its rows."""

PIECE = 1 << 16
"""Bytes that are read at a time of what does not say how many it has."""

MOST_PARTS = 10_000
"""Layers, experts and the like that a model may have."""

MOST_ROWS = 1 << 20
ROWS_A_BYTE = 64
"""Rows that a table may have: a run of one value costs nothing, and a few bytes can say 10**12."""


def check_rows(rows: int, size: int) -> None:
    """Refuse a table that says it has far more rows than its file can tell apart.

    Raises:
        ValueError: `rows` rows in `size` bytes.
    """
    if rows > max(MOST_ROWS, ROWS_A_BYTE * size):
        raise ValueError(f"it says that it has {rows:,} rows, in {size:,} bytes")


def check_regular(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        OSError: it is a device, a pipe or a folder, or not there.
    """
    if stat.S_ISDIR(mode := path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))


def read_bounded(path: Path, most: int = MOST) -> bytes:
    """The content of a file.

    Raises:
        OSError: as `check_regular`, or it is larger than `most` bytes, or cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = read_at_most(file, most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 20} MiB", str(path))
    return content


def read_at_most(file: BinaryIO, count: int) -> bytes:
    """So many bytes of a file, or all that it has.

    Python makes room for all that it is asked to read before it reads, 256 MiB for a settings file
    of a few lines: so it is asked for what there is, and then whether there is more.
    """
    pieces, left = [], count
    size = os.fstat(file.fileno()).st_size
    while left and (piece := file.read(min(left, max(size + 1, PIECE)))):
        pieces.append(piece)
        left -= len(piece)
        size = 0
    return b"".join(pieces)


def read_json(path: Path) -> Any:
    """What a JSON file of ours says, which can be written again as it was.

    Raises:
        OSError: as `read_bounded`.
        ValueError: it is no JSON, or only Python's: NaN, a number that no 64 bits hold, half a
            character, a key that stands twice.
        RecursionError: it is nested too deep.
    """
    content = read_bounded(path)
    value = json.loads(
        content,
        parse_constant=_refuse,
        parse_float=_finite,
        parse_int=_of_64_bits,
        object_pairs_hook=_each_once,
    )
    if b"\\u" in content:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:40]} is no number of JSON")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _refuse(text)


def _of_64_bits(text: str) -> int:
    small = len(text) < 21 and -(2**63) <= int(text) < 2**63
    return int(text) if small else _refuse(text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content
