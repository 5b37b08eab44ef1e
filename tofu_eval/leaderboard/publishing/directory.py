"""Publishing to a directory, which several may do at once: each waits for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tofu_eval.core.errors import StoreError
from tofu_eval.leaderboard.board import Source, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.merge import Merged
from tofu_eval.leaderboard.prompt_scores import pack
from tofu_eval.leaderboard.publishing.plan import Plan, plan
from tofu_eval.run.files import locked, write_bytes

WAIT = 300.0
"""Seconds to wait for others who publish to the same directory."""


def publish_directory(folder: Path, source: Source, *, dry_run: bool = False) -> Plan:
    """Merge a board into the one of a directory, which is made if need be.

    Readers see the old board or the new one, each with its per-prompt rows, and never half of one.

    Args:
        folder: the directory.
        source: the board to publish, with its per-prompt rows or without.
        dry_run: change nothing.

    Returns: what was changed, or would be.
    Raises:
        DataError: what is there is no valid board, or the two contradict each other.
        StoreError: the directory cannot be written, or others publish for longer than WAIT.
    """
    if dry_run:
        return planned(folder, source)
    with locked(folder, wait=WAIT):
        made = planned(folder, source)
        apply(folder, made)
    return made


def save(path: Path, merged: Merged) -> dict[str, Any]:
    """Write a board as one file, with its per-prompt rows beside it; an older board is replaced.

    Returns: the board as it was written.
    Raises:
        DataError: the board is not valid, or the file there is no board: it is not overwritten.
        StoreError: the disk is full or read-only; what was there is untouched.
    """
    old = read_leaderboard(path)["scores"] if path.exists() else None
    board = dict(merged.board)
    if merged.scores is not None:
        board["scores"], content = pack(merged.scores, path.stem)
        write_bytes(path.parent / board["scores"]["file"], content)
    made = write_leaderboard(path, board)
    if old is not None and old != board["scores"]:
        (path.parent / old["file"]).unlink(missing_ok=True)
    return made


def planned(folder: Path, source: Source) -> Plan:
    """What a directory would get."""
    return plan(str(folder), lambda name: _read(folder / name), source)


def apply(folder: Path, made: Plan) -> None:
    """Write what a plan says: the board last, so that what it refers to is there before it is."""
    for name, content in made.write.items():
        write_bytes(folder / name, content)
    for name in made.remove:
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"Cannot read {path}: {error.strerror or error}. Publish to another directory."
        ) from error
