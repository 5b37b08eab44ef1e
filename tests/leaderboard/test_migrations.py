"""The seam for boards of older versions, on a version that never was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import Board, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.migrations import MIGRATIONS, Migration
from tofu_eval.leaderboard.schema import CURRENT

MADE_UP = CURRENT - 1


def from_made_up(board: dict[str, Any]) -> dict[str, Any]:
    """It called what is counted the current way by another name."""
    rows = [{**row, "responses": row["drawn"]} for row in board["rows"]]
    for row in rows:
        del row["drawn"]
    return {**board, "schema_version": CURRENT, "rows": rows}


@pytest.fixture
def old(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the version before the current one."""
    row = {"type": "object", "required": ["drawn"]}
    schema = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "items": row}},
    }
    monkeypatch.setitem(MIGRATIONS, MADE_UP, Migration(schema, from_made_up))
    content = {**board.to_json(), "schema_version": MADE_UP}
    for row in content["rows"]:
        row["drawn"] = row.pop("responses")
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_every_version_that_is_read_has_a_step_to_the_next() -> None:
    assert sorted(MIGRATIONS) == list(range(CURRENT - len(MIGRATIONS), CURRENT))


def test_an_old_board_becomes_a_current_one(old: Path, board: Board, tmp_path: Path) -> None:
    read = read_leaderboard(old)
    assert read == board
    write_leaderboard(tmp_path / "new.json", read)
    assert read_leaderboard(tmp_path / "new.json") == board


def test_an_old_board_is_held_against_its_own_schema(old: Path) -> None:
    content = json.loads(old.read_text("utf-8"))
    del content["rows"][1]["drawn"]
    old.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=r"at \$\.rows\[1\]: the field 'drawn' is missing"):
        read_leaderboard(old)


def test_what_a_step_makes_is_checked(old: Path) -> None:
    content = json.loads(old.read_text("utf-8"))
    content["rows"][0]["value"] = "4.5"
    old.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=r"\$\.rows\[0\]\.value: expected number or null"):
        read_leaderboard(old)


def test_a_version_that_nobody_reads_is_named(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**board.to_json(), "schema_version": 1, "hash": "x"}), "utf-8")
    with pytest.raises(DataError, match=rf"schema_version: expected {CURRENT}, got 1"):
        read_leaderboard(path)
