"""The per-prompt rows beside a board, when somebody has touched them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.boards import A, B, source

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import Board, merge, read_leaderboard, read_scores
from tofu_eval.leaderboard.prompt_scores import BOARD_SCORE_SCHEMA
from tofu_eval.leaderboard.publishing import save_board


@pytest.fixture
def board(manifest: dict[str, Any], tmp_path: Path) -> Board:
    return save_board(tmp_path / "b.json", merge([source(manifest, A, {"base": 5.0, "sft": 3.0})]))


def touched(board: Board, folder: Path, table: pa.Table, rows: int | None = None) -> str:
    """What is said of another table under the board's hash."""
    (file,) = board.scores
    pq.write_table(table, folder / file.file)
    return complaint(board, folder, len(table) if rows is None else rows)


def complaint(board: Board, folder: Path, rows: int) -> str:
    """What is said of the file that is there, where the board has its checksum."""
    (file,) = board.scores
    checksum = hashlib.sha256((folder / file.file).read_bytes()).hexdigest()
    other = replace(board, scores=(replace(file, sha256=checksum, rows=rows),))
    with pytest.raises(DataError) as caught:
        read_scores(other, folder)
    return str(caught.value)


def test_they_are_what_was_measured(board: Board, tmp_path: Path) -> None:
    assert read_leaderboard(tmp_path / "b.json") == board
    scores = read_scores(board, tmp_path)
    assert scores is not None
    assert scores.schema == BOARD_SCORE_SCHEMA
    assert board.scores[0].rows == len(scores) == 80


def test_a_file_a_run(manifest: dict[str, Any], tmp_path: Path) -> None:
    both = merge([source(manifest, A, {"base": 5.0}), source(manifest, B, {"sft": 3.0})])
    board = save_board(tmp_path / "b.json", both)
    assert [file.file[:19] for file in board.scores] == [f"b-{A}-", f"b-{B}-"]
    one = save_board(tmp_path / "c.json", merge([source(manifest, A, {"base": 5.0})]))
    assert one.scores[0].sha256 == board.scores[0].sha256  # whatever else is published


def test_a_file_that_is_gone_or_another_is_named(board: Board, tmp_path: Path) -> None:
    path = tmp_path / board.scores[0].file
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"expected the SHA-256 [0-9a-f]{64} that the board says"):
        read_scores(board, tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"Cannot read the per-prompt rows .*No such file"):
        read_scores(board, tmp_path)


def test_a_table_of_something_else_is_named(board: Board, tmp_path: Path) -> None:
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
    of_another = scores.set_column(0, "run", pa.array([B] * len(scores)))
    assert f"expected rows of the run {A}" in touched(board, tmp_path, of_another)
    (tmp_path / board.scores[0].file).write_bytes(b"PAR1, or so it says")
    assert "no table of per-prompt rows" in complaint(board, tmp_path, 80)


def test_damage_under_a_right_checksum_is_no_crash(board: Board, tmp_path: Path) -> None:
    (file,) = board.scores
    path = tmp_path / file.file
    whole, refused = path.read_bytes(), set()
    for place in range(4, len(whole), 11):
        content = bytes([*whole[:place], whole[place] ^ 0x3F, *whole[place + 1 :]])
        path.write_bytes(content)
        checksum = hashlib.sha256(content).hexdigest()
        other = replace(board, scores=(replace(file, sha256=checksum),))
        try:
            read_scores(other, tmp_path)
        except DataError as error:
            refused.add(str(error).partition("rows: ")[2])
    assert len(refused) > 5


def test_a_place_outside_of_the_texts_is_refused(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged(pq.ParquetFile):
        def read(self, *args: Any, **more: Any) -> pa.Table:
            table = super().read(*args, **more)
            texts = table.column("prompt_id").combine_chunks()
            far = pa.array([len(texts.dictionary)] * len(table), pa.int32())
            column = pa.DictionaryArray.from_arrays(far, texts.dictionary, safe=False)
            return table.set_column(table.column_names.index("prompt_id"), "prompt_id", column)

    monkeypatch.setattr(pq, "ParquetFile", Damaged)
    with pytest.raises(DataError, match=r"is no table of per-prompt rows: .*out of bounds"):
        read_scores(board, tmp_path)
