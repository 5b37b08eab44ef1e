"""The per-prompt rows beside a board, when somebody has touched them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.boards import A, source

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import read_leaderboard, read_scores
from tofu_eval.leaderboard.merge import merge
from tofu_eval.leaderboard.prompt_scores import BOARD_SCORE_SCHEMA, check_scores
from tofu_eval.leaderboard.publishing import save


@pytest.fixture
def board(manifest: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return save(tmp_path / "b.json", merge([source(manifest, A, {"base": 5.0, "sft": 3.0})]))


def touched(board: dict[str, Any], folder: Path, table: pa.Table, rows: int | None = None) -> str:
    """What is said of another table under the board's hash."""
    path = folder / board["scores"]["file"]
    pq.write_table(table, path)
    sum = hashlib.sha256(path.read_bytes()).hexdigest()
    told = {**board["scores"], "sha256": sum, "rows": len(table) if rows is None else rows}
    with pytest.raises(DataError) as caught:
        read_scores({**board, "scores": told}, folder)
    return str(caught.value)


def test_they_are_what_was_measured(board: dict[str, Any], tmp_path: Path) -> None:
    assert read_leaderboard(tmp_path / "b.json") == board
    scores = read_scores(board, tmp_path)
    assert scores is not None
    assert scores.schema == BOARD_SCORE_SCHEMA
    assert board["scores"]["rows"] == len(scores) == 80
    check_scores(board, scores, "b.json")


def test_a_file_that_is_gone_or_another_is_named(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / board["scores"]["file"]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"expected the SHA-256 [0-9a-f]{64} that the board says"):
        read_scores(board, tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"Cannot read the per-prompt rows .*No such file"):
        read_scores(board, tmp_path)


def test_a_table_of_something_else_is_named(board: dict[str, Any], tmp_path: Path) -> None:
    scores = read_scores(board, tmp_path)
    assert scores is not None
    assert "no table of per-prompt rows" in touched(board, tmp_path, scores.drop(["value"]))
    text = scores.set_column(
        scores.schema.get_field_index("value"), "value", pa.array(["x"] * len(scores))
    )
    assert "no table of per-prompt rows" in touched(board, tmp_path, text)
    assert "expected 7 rows, as the board says, got 80" in touched(board, tmp_path, scores, 7)
    stranger = scores.set_column(2, "task", pa.array(["another"] * len(scores)))
    assert "has per-prompt rows of" in touched(board, tmp_path, stranger)
    path = tmp_path / board["scores"]["file"]
    path.write_bytes(b"PAR1, or so it says")
    sum = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match="no table of per-prompt rows"):
        read_scores({**board, "scores": {**board["scores"], "sha256": sum}}, tmp_path)


def test_numbers_that_they_do_not_give_are_named(board: dict[str, Any], tmp_path: Path) -> None:
    scores = read_scores(board, tmp_path)
    with pytest.raises(DataError, match=r"b at \$\.rows\[0\]\.n: expected 39, .* got 40"):
        check_scores(board, scores.slice(1), "b")
    board["rows"][1].update(method="mean, of something", value=3.5)
    with pytest.raises(
        DataError, match=r"b at \$\.rows\[1\]\.value: expected 3\.0\d+, .* got 3\.5"
    ):
        check_scores(board, scores, "b")
