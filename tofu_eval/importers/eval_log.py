"""Inspect's `.eval` file: a ZIP of JSON, of which newer ones are packed with Zstandard.

Python's zipfile lists such an archive and, before 3.14, cannot unpack its entries; Arrow can.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import pyarrow as pa

from tofu_eval.importers.json_rows import LONGEST, BadLine, Halves, RepeatedKey, parse

ZSTANDARD = 93
MOST_GROWTH = 1100
"""Deflate packs at most so well; what says more has entries that lie on top of each other."""
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
HEADERS = ("header.json", "_journal/start.json")
"""Where an archive says what was run: the second while it runs, or after it was killed."""


def read_samples(file: IO[bytes], halves: Halves) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The log's header with one sample at a time, in the order of the archive.

    Returns: pairs of a number from 1 and the header, its field `samples` a list of one.

    Raises:
        BadLine: an entry is damaged or not JSON.
        ValueError: the archive is damaged or no Inspect log.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{error} (the file may have been cut)") from error
    size = file.seek(0, io.SEEK_END)
    if sum(entry.file_size for entry in archive.infolist()) > MOST_GROWTH * size:
        raise ValueError(f"it says that it unpacks to more than {MOST_GROWTH} times its size")
    names = {entry.filename: entry for entry in archive.infolist()}
    header_name = next((name for name in HEADERS if name in names), None)
    if header_name is None:
        raise ValueError("a ZIP without header.json, so no log of Inspect")
    header = _entry(archive, names[header_name], 0, halves)
    if not isinstance(header, Mapping):
        raise ValueError("header.json is no object")
    samples = [entry for name, entry in names.items() if _is_sample(name)]
    for number, entry in enumerate(samples, start=1):
        yield number, {**header, "samples": [_entry(archive, entry, number, halves)]}


def _is_sample(name: str) -> bool:
    return name.startswith("samples/") and name.endswith(".json")


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, number: int, halves: Halves) -> Any:
    name = entry.filename
    if entry.file_size > LONGEST:
        raise BadLine(number, f"{name} has more than {LONGEST >> 20} MiB")
    try:
        return parse(_content(archive, entry), halves)
    except RepeatedKey as error:
        raise BadLine(number, f"{name}: {error}") from error
    except RecursionError as error:
        raise BadLine(number, f"{name} is nested too deeply") from error
    except (
        ValueError,
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        pa.ArrowException,
    ) as error:
        raise BadLine(number, f"{name} is damaged: {error}") from error


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != ZSTANDARD:
        with archive.open(entry) as file:
            return file.read(LONGEST)
    if (fp := archive.fp) is None:
        raise ValueError("the archive is closed")
    fp.seek(entry.header_offset)
    fields = LOCAL_HEADER.unpack(fp.read(LOCAL_HEADER.size))
    if fields[0] != b"PK\x03\x04":
        raise ValueError("no entry where the directory says")
    fp.seek(fields[-2] + fields[-1], io.SEEK_CUR)
    packed = fp.read(entry.compress_size)
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        content = bytes(stream.read(entry.file_size))
    if zlib.crc32(content) != entry.CRC:
        raise ValueError("its checksum is another")
    return content
