"""What was published before: each version of a board is kept beside the one that stands.

A place that has a page keeps `versions.json`, a list of what was published and when, and the boards
themselves, packed, in `versions/`. What lies there is other people's, as a board is: it is checked
when it is read, and unpacked no further than LARGEST.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.file import parse_leaderboard
from tofu_eval.leaderboard.prompt_scores import ReadFile
from tofu_eval.leaderboard.schema import shortened

INDEX = "versions.json"
FOLDER = "versions"

LARGEST = 2**29
"""Bytes of a board that is unpacked."""

DRAWN = 24
"""Versions that a page draws; all are kept."""

_BEGINNING = 400
"""Bytes of a board within which its file says its hash."""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Version:
    """A board that was published: its hash, when, what it held."""

    hash: str
    published: str
    models: int
    rows: int

    @property
    def file(self) -> str:
        """Where the board is kept."""
        return f"{FOLDER}/{self.hash.partition(':')[2][:16]}.json.gz"


@dataclass(frozen=True)
class Past:
    """A version with its board; None where it is too long ago to be drawn."""

    version: Version
    board: Board | None


def version_of(board: Board, published: datetime) -> Version:
    """The entry of a board that is published now."""
    time = published.isoformat(timespec="seconds")
    return Version(board.hash, time, len(board.models), len(board.rows))


def pack_version(content: bytes) -> bytes:
    """A board's file, packed: the same bytes for the same board."""
    return gzip.compress(content, mtime=0)


def versions_text(versions: Sequence[Version]) -> bytes:
    """The list as its file holds it, a line a version."""
    lines = ",\n".join(f"    {json.dumps(asdict(version))}" for version in versions)
    return f'{{\n  "versions": [\n{lines}\n  ]\n}}\n'.encode()


def parse_versions(content: bytes | None, name: str) -> tuple[Version, ...]:
    """The list of a place, the oldest first; none where there is no such file.

    Raises:
        DataError: it is no such list.
    """
    if content is None:
        return ()
    try:
        listed = json.loads(content)["versions"]
        versions = tuple(Version(**entry) for entry in listed)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _no_list(name, str(error)) from error
    for version in versions:
        if problem := _problem(version):
            raise _no_list(name, problem)
    return versions


def read_history(versions: Sequence[Version], read: ReadFile, place: str) -> list[Past]:
    """The versions with their boards, the last DRAWN of them.

    Raises:
        DataError: a board is missing, is too large, or is another than the list says.
    """
    old = max(0, len(versions) - DRAWN)
    return [
        *(Past(version, None) for version in versions[:old]),
        *_with_boards(versions[old:], read, place),
    ]


def _with_boards(versions: Sequence[Version], read: ReadFile, place: str) -> Iterator[Past]:
    for version in versions:
        name = f"{place}/{version.file}"
        packed = read(version.file)
        if packed is None:
            raise DataError(
                f"{place} lists the version {version.hash[:19]} and lacks {version.file}. Put that "
                f"file back, or take the version out of {INDEX}."
            )
        content = _unpacked(packed, name)
        board = parse_leaderboard(content, name)
        # As the file says it, which is checked: a board of an older schema has another one now.
        if version.hash.encode() not in content[:_BEGINNING]:
            raise DataError(
                f"{name}: expected the board {version.hash}, as {INDEX} says, got another. Put the "
                "file back that was published."
            )
        yield Past(version, board)


def _unpacked(packed: bytes, name: str) -> bytes:
    """The content of a packed file, which may not be larger than LARGEST."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, LARGEST)
    except zlib.error as error:
        raise DataError(f"{name} cannot be unpacked: {error}. Put the file back.") from error
    if not unpacker.eof:
        size = f"a board of more than {LARGEST} bytes" if unpacker.unconsumed_tail else "a part"
        raise DataError(f"{name}: expected a whole packed board, got {size}. Put the file back.")
    return content


def _problem(version: Version) -> str | None:
    if not isinstance(version.hash, str) or not _HASH.fullmatch(version.hash):
        return f"expected a hash like sha256:…, got {shortened(version.hash)}"
    for name in ("models", "rows"):
        if type(getattr(version, name)) is not int or getattr(version, name) < 0:
            return f"expected {name} to be a count, got {shortened(getattr(version, name))}"
    try:
        datetime.fromisoformat(version.published)
    except (ValueError, TypeError):
        return f"expected a time, got {shortened(version.published)}"
    return None


def _no_list(name: str, problem: str) -> DataError:
    return DataError(
        f"{name} is no list of published versions: {problem[:200]}. Put back the one that "
        "'leaderboard publish' wrote."
    )
