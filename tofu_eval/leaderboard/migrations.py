"""Boards of older versions, brought to the current one step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tofu_eval.core.types import digest
from tofu_eval.leaderboard.schema import CURRENT, HASH, content_hash

Board = dict[str, Any]

MIGRATIONS: dict[int, Callable[[Board], Board]] = {}
"""From a version to the next."""


def migration(version: int) -> Callable[[Callable[[Board], Board]], Callable[[Board], Board]]:
    """Register what turns a board of `version` into one of the version after."""

    def register(step: Callable[[Board], Board]) -> Callable[[Board], Board]:
        MIGRATIONS[version] = step
        return step

    return register


def migrate(board: Board) -> Board:
    """A board of any older version as one of the current; it must be valid for its own."""
    while board["schema_version"] != CURRENT:
        board = MIGRATIONS[board["schema_version"]](board)
    return board


@migration(1)
def _from_1(old: Board) -> Board:
    """Version 1 had one run and its places unnamed, no hash, no ranks, no packages.

    What it did not record is null or empty, not guessed.
    """
    id = digest(old)[:16]
    held = {(row["model"], row["task"]): None for row in old["rows"]}
    formats = {model["name"]: model["prompt_format"] for model in old["models"]}
    run = {
        "id": id,
        "tool": old["tool"],
        "created": old["created"],
        "finished": None,
        "seed": None,
        "machines": [],
        "packages": {},
        "seconds": {},
        "places": [
            {
                "model": model,
                "task": task,
                "prompt_format": formats[model].get(task),
                "tokens": None,
            }
            for model, task in held
        ],
    }
    # Version 1 gave files of responses a sampling that nobody had chosen.
    files = {model["name"] for model in old["models"] if model["engine"] == "file"}
    generated = {task for model, task in held if model not in files}
    unranked = {"rank": None, "better_than": None, "worse_than": None}
    board = {
        "schema_version": 2,
        "runs": [run],
        "tasks": [
            {
                "id": task["name"],
                **task,
                "sampling": task["sampling"] if task["name"] in generated else None,
                "package": None,
            }
            for task in old["tasks"]
        ],
        "models": [
            {"id": m["name"], "name": m["name"], "identity": m["identity"], "engine": m["engine"]}
            for m in old["models"]
        ],
        "metrics": [{"id": metric["name"], **metric, "package": None} for metric in old["metrics"]],
        "rows": [{"run": id, **row, **unranked} for row in old["rows"]],
        "scores": None,
    }
    return {**board, HASH: content_hash(board)}
