"""What a large board costs: memory that grows with its rows, and how much of it a row."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rfc8785
from support.boards import B, source
from support.large_board import run_source

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import merge, read_leaderboard, read_scores
from tofu_eval.leaderboard.board import Board, BoardRow, Source
from tofu_eval.leaderboard.file import file_content
from tofu_eval.leaderboard.merge_ids import model_id
from tofu_eval.leaderboard.prompt_scores import (
    BOARD_SCORE_SCHEMA,
    drop_copies,
    in_order,
    row_keys,
    union,
    values_by_row,
)
from tofu_eval.leaderboard.publishing import save_board
from tofu_eval.leaderboard.ranks import NO_SCORES
from tofu_eval.leaderboard.schema import content_hash

A, PROMPTS = "1" * 16, 20


@pytest.fixture(scope="module")
def large() -> Source:
    """4 models by 8 metrics on 25 tasks: 800 rows, 16,000 per-prompt rows."""
    names = [f"model-{n}" for n in range(4)]
    return run_source(A, names, tasks={f"task-{n}": PROMPTS for n in range(25)})


def traced_peak(call: Callable[[], object]) -> int:
    """Bytes that a call takes of Python's memory at most, beyond what was taken before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def board_of(small: Board, models: int) -> Board:
    """A board of so many models with a row each, which are not ranked."""
    (one, *_), (row, *_) = small.models, small.rows
    made = [
        replace(one, id="", name=f"m{n}", identity={"files": {"w": str(n)}}) for n in range(models)
    ]
    made = [replace(model, id=model_id(model)) for model in made]
    bare = replace(row.without_rank(), unranked=NO_SCORES)

    def rows(model: str) -> list[BoardRow]:
        return [replace(bare, model=model, metric=metric.id) for metric in small.metrics]

    return replace(
        small,
        models=tuple(made),
        rows=tuple(row for model in made for row in rows(model.id)),
        runs=tuple(replace(run, cells=()) for run in small.runs),
        comparisons=(),
        scores=(),
    )


def test_a_board_is_written_without_a_second_form_of_its_rows(large: Source) -> None:
    small, double = board_of(large.board, 60), board_of(large.board, 120)
    sizes = [len(file_content(board)) for board in (small, double)]
    peaks = [traced_peak(lambda board=board: file_content(board)) for board in (small, double)]
    # The text itself; the keys that are looked at for doubles; a column of a chunk at a time.
    assert peaks[1] - peaks[0] < 3 * (sizes[1] - sizes[0])


def test_a_board_is_read_with_each_text_once(large: Source, tmp_path: Path) -> None:
    peaks, sizes = [], []
    for models in (60, 120):
        path = tmp_path / f"{models}.json"
        path.write_bytes(file_content(board_of(large.board, models)))
        peaks.append(traced_peak(lambda path=path: read_leaderboard(path)))
        sizes.append(path.stat().st_size)
    # The text, and of each row a dictionary of shared names and texts.
    assert peaks[1] - peaks[0] < 3.5 * (sizes[1] - sizes[0])


def test_the_hash_of_rows_one_by_one_is_that_of_all(large: Source) -> None:
    whole = rfc8785.dumps(large.board.to_json())
    assert large.board.hash == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    nothing = {"rows": [], "a": {}}
    whole = rfc8785.dumps(nothing)
    assert content_hash(nothing) == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_per_prompt_rows_hold_each_text_once(large: Source, tmp_path: Path) -> None:
    board = save_board(tmp_path / "b.json", merge([large]))
    scores = read_scores(board, tmp_path)
    assert scores is not None
    assert large.scores is not None
    assert len(scores) == len(large.board.rows) * PROMPTS
    for table in (scores, large.scores, merge([large]).scores):
        # Seven places of texts, a value and a count; the texts themselves are a few kilobytes.
        assert table.nbytes < 48 * len(table)
    assert scores.to_pylist() == in_order(large.scores).to_pylist()


def test_values_are_made_when_they_are_asked_for(large: Source) -> None:
    scores = large.scores
    assert scores is not None
    values = values_by_row(scores)
    peak = traced_peak(lambda: values_by_row(scores))
    assert peak < 60 * len(scores)  # the objects of all values would be some 130 a row
    assert set(values) == row_keys(scores) == {row.key for row in large.board.rows}
    for row in large.board.rows[::97]:
        own = values[row.key]
        assert len(own) == PROMPTS
        assert sum(own.values()) / PROMPTS == pytest.approx(row.value)
    assert (A, "no", "such", "row") not in values
    assert values.get((A, "no", "such", "row")) is None


def rows_of(*cells: tuple[str, str | None, float | None], run: str = A) -> pa.Table:
    """Per-prompt rows by metric, prompt and value."""
    rows = [
        {
            "run": run, "model": "m", "task": "t", "prompt_id": prompt, "metric": metric,
            "value": value, "reason": None if value is not None else "none", "n": 4,
            "cluster": None,
        }
        for metric, prompt, value in cells
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=BOARD_SCORE_SCHEMA)


def test_rows_of_several_tables_are_in_one_order() -> None:
    tables = [
        rows_of(("b", None, 0.5), ("b", "p2", 2.0), ("a", "p10", None)),
        rows_of(("a", "p9", 1.0), ("b", "p1", 3.0), run=B),
    ]
    forwards, backwards = union(tables), union(tables[::-1])
    found = [(r["metric"], r["run"], r["prompt_id"]) for r in forwards.to_pylist()]
    assert found == [
        ("a", A, "p10"), ("a", B, "p9"), ("b", A, "p2"), ("b", A, None), ("b", B, "p1"),
    ]  # fmt: skip
    assert backwards.to_pylist() == forwards.to_pylist()
    assert union([*tables, *tables]).to_pylist() == forwards.to_pylist()
    assert union([]).to_pylist() == []


@pytest.mark.parametrize("values", [(1.0, 2.0), (1.0, None), (None, 0.0)])
def test_two_values_of_one_cell_are_no_copies(values: tuple[float | None, float | None]) -> None:
    tables = [rows_of(("a", "p1", value)) for value in values]
    assert len(drop_copies(pa.concat_tables([*tables, *tables]))) > 1
    with pytest.raises(DataError, match="Two boards hold different values of 'a' for prompt 'p1'"):
        union(tables)
    assert len(union([tables[0], tables[0]])) == 1


def test_a_bomb_of_rows_is_refused_before_it_is_read(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    board = save_board(tmp_path / "b.json", merge([source(manifest, A, {"base": 5.0})]))
    (file,) = board.scores
    path = tmp_path / file.file
    plain = pq.read_table(path).slice(0, 1)
    bomb = plain.take(pa.array(np.zeros(1_100_000, dtype=np.int32)))
    pq.write_table(
        bomb, path, compression="zstd", max_rows_per_page=len(bomb), data_page_size=2**30
    )
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    other = replace(board, scores=(replace(file, sha256=checksum, rows=1_100_000),))
    with pytest.raises(DataError, match="it says that it has 1,100,000 rows, in"):
        read_scores(other, tmp_path)
