"""Publishing to a directory, which several may do at once: each waits for the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tofu_eval.core.bounded import MOST_OF_BOARD, read_bounded
from tofu_eval.core.errors import StoreError
from tofu_eval.leaderboard.board import Board, Source
from tofu_eval.leaderboard.file import NAME, file_content, read_leaderboard
from tofu_eval.leaderboard.merge import Merged
from tofu_eval.leaderboard.publishing.changes import Changes, Page, changes_of, pack_board
from tofu_eval.run.files import TEMPORARY, clear_leftovers, hold_lock, remove_file, write_bytes

WAIT = 300.0
"""Seconds to wait for others who publish to the same directory."""


def publish_directory(
    folder: Path, source: Source, *, page: Page | None = None, dry_run: bool = False
) -> Changes:
    """Merge a board into the one of a directory, which is made if need be.

    Readers see the old board or the new one, each with its per-prompt rows, and never half of one.

    Args:
        folder: the directory.
        source: the board to publish, with its per-prompt rows or without.
        page: how the directory gets a page.
        dry_run: change nothing.

    Returns: what was changed, or would be.
    Raises:
        DataError: what is there is no valid board, or the two contradict each other.
        StoreError: the directory cannot be written, or others publish for longer than WAIT.
    """
    if dry_run:
        return directory_changes(folder, source, page)
    with hold_lock(folder, wait=WAIT):
        changes = directory_changes(folder, source, page)
        write_changes(folder, changes)
        remove_orphans(folder / NAME, changes.scores)
    return changes


def save_board(path: Path, merged: Merged) -> Board:
    """Write a board as one file, with its per-prompt rows beside it; an older board is replaced.

    Returns: the board as it was written.
    Raises:
        DataError: the board is not valid, or the file there is no board: it is not overwritten.
        StoreError: the disk is full or read-only; what was there is untouched.
    """
    with hold_lock(path.parent, wait=WAIT):
        before = read_leaderboard(path).scores if path.exists() else ()
        write, board = pack_board(merged, path.stem, None)
        content = file_content(board, path)
        for name, table in write.items():
            write_bytes(path.parent / name, table)
        write_bytes(path, content)
        for file in before:
            if file.file not in write:
                remove_file(path.parent / file.file)
        remove_orphans(path, [file.file for file in board.scores])
    return board


def remove_orphans(path: Path, kept: Collection[str]) -> None:
    """Remove what somebody who was killed left beside a board: rows that it does not name.

    Only what is called and made as its rows are, the checksum in the name that of the content, is
    taken for such. `kept` are the files that it names.

    Raises:
        StoreError: the directory cannot be written.
    """
    for folder in (".", "models", "versions"):
        clear_leftovers((path.parent / folder).glob(f"{TEMPORARY}*"))
    named = re.compile(re.escape(path.stem) + r"-[0-9a-f]{16}-([0-9a-f]{16})\.parquet")
    for file in path.parent.glob("*.parquet"):
        name = named.fullmatch(file.name)
        if name is None or file.name in kept:
            continue
        with suppress(OSError):  # what cannot be read is not known to be ours
            if hashlib.sha256(file.read_bytes()).hexdigest().startswith(name[1]):
                remove_file(file)


def directory_changes(folder: Path, source: Source, page: Page | None = None) -> Changes:
    """What a directory would get."""
    return changes_of(str(folder), lambda name: read_file(folder / name), source, page)


def write_changes(folder: Path, changes: Changes) -> None:
    """Write them: the board last, so that what it refers to is there before it is."""
    for name, content in changes.write.items():
        write_bytes(folder / name, content)
    for name in changes.remove:
        remove_file(folder / name)


def read_file(path: Path) -> bytes | None:
    """The content of a file of a place; None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return read_bounded(path, MOST_OF_BOARD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"Cannot read {path}: {error.strerror or error}. Publish to another directory."
        ) from error
