"""The file of a leaderboard: written whole and checked, read whole and checked."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tofu_eval.core.bounded import MOST_OF_BOARD, read_bounded
from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Board, Source
from tofu_eval.leaderboard.merge_ids import metric_id, model_id, task_id
from tofu_eval.leaderboard.migrations import MIGRATIONS, migrate
from tofu_eval.leaderboard.prompt_scores import read_scores
from tofu_eval.leaderboard.schema import CURRENT, HASH, check, content_hash, is_list, shortened
from tofu_eval.run.files import write_bytes

NAME = "leaderboard.json"
"""What a board is called in a run, and wherever it is published."""


def write_leaderboard(path: Path | str, board: Board) -> None:
    """Check a leaderboard and write it atomically, with its hash.

    Raises:
        DataError: it is not a valid leaderboard; nothing is written.
        StoreError: the disk is full or read-only; the file that was there is untouched.
    """
    path = Path(path)
    write_bytes(path, file_content(board, path))


def file_content(board: Board, name: object = "The leaderboard") -> bytes:
    """The text of a board's file; `name` is what messages call it.

    Raises:
        DataError: it is not a valid leaderboard.
    """
    remedy = "Nothing is written: correct what it was built from, then run the same command again."
    try:
        # What is checked is what a reader would find; of a row that is what it holds.
        content = board.outline()
        rows = content["rows"]
        content = {**json.loads(json.dumps({**content, "rows": []})), "rows": rows}
        check({**content, HASH: "sha256:" + "0" * 64}, name, remedy, hashed=False)
        _check_ids(board, name, remedy)
        sealed = {
            "schema_version": content.pop("schema_version"),
            HASH: content_hash({"schema_version": CURRENT, **content}),
            **content,
        }
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{name} cannot be made: {error}. {remedy}") from error
    return _to_bytes(sealed)


def read_leaderboard(path: Path | str) -> Board:
    """Read a leaderboard, check it, and bring it to the current version of the schema.

    Raises:
        DataError: there is no such file, or it is not a valid leaderboard; says where and why.
    """
    path = Path(path)
    try:
        return parse_leaderboard(read_bounded(path, MOST_OF_BOARD), path)
    except OSError as error:
        inside = path / NAME
        remedy = (
            f"Name the board in it: {inside}"
            if inside.is_file()
            else "Make one: tofu-eval run … --output DIR writes DIR/leaderboard.json"
        )
        raise DataError(
            f"Cannot read the leaderboard {path}: {error.strerror or error}. {remedy}"
        ) from error


def parse_leaderboard(content: bytes, name: object) -> Board:
    """The same of a file's bytes; `name` is what messages call it."""
    remedy = "Undo the change, or make it again: run the command that made it."
    try:
        # Editors on Windows put a byte-order mark before what they save.
        text = content.decode("utf-8-sig")
        del content  # a large board is 100 MB, and as much again in each form
        board = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
        del text
        version = _version(board, name)
        if version != CURRENT:
            check(board, name, remedy, version=version)
            board = migrate(board, to=CURRENT)
            board[HASH] = content_hash(board)
        check(board, name, remedy)
        typed = Board.of_json(board)
        _check_ids(typed, name, remedy)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name}, line {error.lineno} column {error.colno}: this is not JSON ({error.msg}). "
            f"{remedy}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}, byte {error.start}: expected UTF-8, got {error.object[error.start]:#04x}. "
            f"{remedy}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{name}: its brackets are nested too deep to be read. {remedy}") from error
    except ValueError as error:  # of _object, and numbers without a canonical form
        raise DataError(f"{name}: {error}. {remedy}") from error
    return typed


def open_board(path: Path | str) -> Source:
    """A leaderboard with its per-prompt rows, where it has any."""
    path = Path(path)
    board = read_leaderboard(path)
    return Source(str(path), board, read_scores(board, path.parent))


def _version(board: Any, name: object) -> int:
    """Which schema a board is to be held against: its own where it is known."""
    version = board.get("schema_version") if isinstance(board, dict) else None
    if type(version) is int and version > CURRENT:
        raise DataError(
            f"{name} has schema version {version}, this tofu-eval reads up to {CURRENT}. "
            "Get a newer one: pip install --upgrade tofu-eval"
        )
    return version if type(version) is int and version in MIGRATIONS else CURRENT


def _check_ids(board: Board, name: object, remedy: str) -> None:
    """Refuse a thing whose id is not made of what it is."""
    wanted = {
        "tasks": [(task.id, task_id(task)) for task in board.tasks],
        "models": [(model.id, model_id(model)) for model in board.models],
        "metrics": [(metric.id, metric_id(metric)) for metric in board.metrics],
    }
    for nouns, pairs in wanted.items():
        for i, (id, made) in enumerate(pairs):
            if id != made:
                raise DataError(
                    f"{name} at $.{nouns}[{i}].id: expected {shortened(made)}, which is made of "
                    f"what it is, got {shortened(id)}. {remedy}"
                )


def _to_bytes(board: Mapping[str, Any]) -> bytes:
    """JSON with a line an item, so that a version-control system shows what changed."""
    file = io.BytesIO()
    before = "{"
    for name, value in board.items():
        file.write(f"{before}\n  {_json(name)}: ".encode())
        before = ","
        if not is_list(value) or not value:
            file.write(_json(list(value) if is_list(value) else value).encode())
            continue
        lead = "["
        for item in value:
            file.write(f"{lead}\n    {_json(item)}".encode())
            lead = ","
        file.write(b"\n  ]")
    file.write(b"\n}\n")
    return file.getvalue()


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ids and methods, which thousands of rows share, are one text each."""
    fields = {name: sys.intern(v) if type(v) is str else v for name, v in pairs}
    if len(fields) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the field {shortened(twice)} stands twice in one object")
    return fields


def _integer(digits: str) -> int | float:
    # Python refuses to convert thousands of digits; as a float they are infinite, which the
    # schema refuses with their place.
    return int(digits) if len(digits) < 400 else float(digits)
