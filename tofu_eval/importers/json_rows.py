"""JSON as rows: one object a line, an array of objects, or one object; keys that repeat refused."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import JSONDecodeError, JSONDecoder
from typing import IO, Any

import jiter

LONGEST = 1 << 29
"""Most bytes of a line, of a row of an array, and of a file that is one object."""

CHUNK = 1 << 20
SURROGATE = re.compile("[\ud800-\udfff]")
UNTERMINATED = "Unterminated string"
TAIL = 16
"""So near the end of what is read so far, an error means that there is more to read."""


class BadLine(ValueError):
    """What is wrong with a line or row, and its number from 1."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


class RepeatedKey(ValueError):
    """A key that stands twice in one object, so that nobody knows which value counts."""


@dataclass
class Halves:
    """How many texts had half a surrogate pair, which UTF-8, and so Parquet, cannot hold."""

    count: int = 0

    def mend(self, value: Any) -> Any:
        """The same value with U+FFFD for each such half."""
        if isinstance(value, str):
            clean, halves = SURROGATE.subn("\ufffd", value)
            self.count += bool(halves)
            return clean
        if isinstance(value, list):
            return [self.mend(item) for item in value]
        if isinstance(value, dict):
            return {self.mend(name): self.mend(item) for name, item in value.items()}
        return value


def parse(raw: bytes, halves: Halves) -> Any:
    """A JSON text as Python objects; half surrogates are counted and replaced.

    Raises:
        ValueError: it is none, is not UTF-8, or repeats a key in an object.
        RecursionError: it is nested too deeply.
    """
    try:
        return jiter.from_json(raw, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError:
        # The standard reader knows half surrogates, and says better what is wrong.
        return halves.mend(json.loads(raw.decode("utf-8"), object_pairs_hook=_object))


def read_lines(file: IO[bytes], halves: Halves) -> Iterator[tuple[int, Any]]:
    """The objects of a file that has one a line, with the number of the line.

    Raises:
        BadLine: a line is not JSON.
    """
    readline, number = file.readline, 0
    # Lines end at \\n only: JSON may hold any other line end of Unicode raw.
    while raw := readline(LONGEST):
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if not raw.isspace():
            yield number, _parse_line(raw, number, halves)


def is_document(start: bytes) -> bool:
    """Whether a file is an array, or one object over several lines, and not an object a line.

    Args:
        start: its first bytes, without white space before.
    """
    line, newline, _ = start.partition(b"\n")
    return start.startswith(b"[") or (bool(newline) and not _is_complete(line))


def read_document(file: IO[bytes], halves: Halves) -> Iterator[tuple[int, Any]]:
    """The elements of an array with their numbers, or the one object of a file.

    Raises:
        BadLine: it is not JSON.
    """
    stream = io.TextIOWrapper(io.BufferedReader(_Kept(file), CHUNK), "utf-8-sig", newline="\n")
    text = stream.read(CHUNK)
    if not text.lstrip(_SPACE).startswith("["):
        yield 1, _parse_whole(text, stream, halves)
        return
    yield from _elements(text, stream, halves)


_SPACE = " \t\r\n"
_DECODER = JSONDecoder()


class _Kept(io.RawIOBase):
    """A file that stays open when what is wrapped around it is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def keep_open(file: IO[bytes]) -> io.BufferedReader:
    """A reader of a file that leaves it open when it is closed itself."""
    return io.BufferedReader(_Kept(file), CHUNK)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKey(f"the key '{twice}' stands twice in one object")
    return row


def _parse_line(raw: bytes, number: int, halves: Halves) -> Any:
    try:
        return parse(raw, halves)
    except UnicodeDecodeError as error:
        raise BadLine(number, f"not UTF-8 (byte {error.start + 1} of the line)") from error
    except RepeatedKey as error:
        raise BadLine(number, str(error)) from error
    except RecursionError as error:
        raise BadLine(number, "not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        if len(raw) == LONGEST:
            what = f"longer than {LONGEST >> 20} MiB; write a response a line"
            raise BadLine(number, what) from error
        raise BadLine(number, f"not JSON: {error}. Expected one object a line") from error


def _is_complete(line: bytes) -> bool:
    """Whether a line that begins an object also ends it, or is broken in itself."""
    try:
        parse(line, Halves())
    except JSONDecodeError as error:
        unfinished = error.msg.startswith(UNTERMINATED) or error.pos >= len(error.doc.rstrip())
        return not unfinished
    except (ValueError, RecursionError):
        return True
    return True


def _parse_whole(text: str, stream: io.TextIOWrapper, halves: Halves) -> Any:
    text += stream.read(LONGEST)
    if len(text) > LONGEST:
        raise BadLine(1, f"one JSON object of more than {LONGEST >> 20} MiB; write one a line")
    try:
        return parse(text.encode("utf-8"), halves)
    except RepeatedKey as error:
        raise BadLine(_line_of(text, error), str(error)) from error
    except RecursionError as error:
        raise BadLine(1, "not JSON that can be read: it is nested too deeply") from error
    except JSONDecodeError as error:
        what = f"not JSON: {error.msg} (column {error.colno})"
        raise BadLine(error.lineno, what) from error


def _line_of(text: str, error: RepeatedKey) -> int:
    """The line on which a key stands that is repeated in its object: of its second use at most."""
    name = json.dumps(str(error).split("'")[1])
    first = text.find(name)
    second = text.find(name, first + 1)
    return text.count("\n", 0, max(first, second, 0)) + 1


def _elements(text: str, stream: io.TextIOWrapper, halves: Halves) -> Iterator[tuple[int, Any]]:
    """The elements of an array, read on as they are asked for."""
    at = text.index("[") + 1
    lines = text.count("\n", 0, at)
    number = 0
    while True:
        text, at, lines = _skip(text, at, lines, stream)
        mark = text[at : at + 1]
        if mark == "]" and number == 0:
            break
        number += 1
        text, end = _read_on(text, at, number, lines, stream)
        yield number, _parse_line(text[at:end].encode("utf-8"), number, halves)
        lines += text.count("\n", at, end)
        text, at, lines = _skip(text, end, lines, stream)
        mark = text[at : at + 1]
        if mark == "]":
            break
        if mark != ",":
            what = "the file ends too early" if not mark else "Expecting ',' or ']'"
            raise BadLine(number, f"not JSON after this row: {what} (line {lines + 1})")
        at += 1
        text, at = text[at:], 0
    rest = text[at + 1 :] + stream.read(CHUNK)
    if rest.strip(_SPACE):
        raise BadLine(number, f"not JSON after this row: text after the array (line {lines + 1})")


def _skip(text: str, at: int, lines: int, stream: io.TextIOWrapper) -> tuple[str, int, int]:
    """Where the next character stands that is no white space, more being read as needed."""
    while True:
        stripped = text[at:].lstrip(_SPACE)
        start = len(text) - len(stripped)
        lines += text.count("\n", at, start)
        if stripped:
            return text, start, lines
        more = stream.read(CHUNK)
        if not more:
            return "", 0, lines
        text, at = more, 0


def _read_on(
    text: str, at: int, number: int, lines: int, stream: io.TextIOWrapper
) -> tuple[str, int]:
    """The text, read on until the value that begins at `at` is whole, and where that ends."""
    while True:
        try:
            return text, _DECODER.raw_decode(text, at)[1]
        except JSONDecodeError as problem:
            error = problem
        except RecursionError as deep:
            what = "not JSON that can be read: it is nested too deeply"
            raise BadLine(number, what) from deep
        near_end = error.msg.startswith(UNTERMINATED) or error.pos >= len(text) - TAIL
        more = stream.read(max(CHUNK, len(text) - at)) if near_end else ""
        if not more:
            line = lines + text.count("\n", at, error.pos) + 1
            raise BadLine(number, f"not JSON: {error.msg} (line {line})") from error
        text += more
        if len(text) - at > LONGEST:
            raise BadLine(number, f"longer than {LONGEST >> 20} MiB; write a response a row")
