from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from support.boards import A, manifest_of, means, name_of, study

from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import EQUAL_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.leaderboard import build_leaderboard
from tofu_eval.leaderboard.build import board_of_run
from tofu_eval.leaderboard.prompt_scores import defining_scores
from tofu_eval.leaderboard.ranks import (
    FEW_PROMPTS,
    NO_DIRECTION,
    NO_SCORES,
    TOO_FEW,
    UNEQUAL,
    rank_rows,
)

Ranks = dict[str, tuple[int | None, ...]]


def ranked(manifest: dict[str, Any], levels: dict[str, float], **how: Any) -> Ranks:
    """Rank, last rank, better_than and worse_than by model."""
    scores = study(levels, **how)
    board = build_leaderboard(means(scores), manifest_of(manifest, A, *levels), scores)
    return {
        board.model_by_id[row.model].name: (
            row.rank, row.rank_last, row.better_than, row.worse_than
        )
        for row in board.rows
    }  # fmt: skip


def test_clear_differences_are_ranks_and_others_ties(manifest: dict[str, Any]) -> None:
    found = ranked(manifest, {"low": 1.0, "high": 5.0, "alike": 5.01, "middle": 3.0})
    assert found == {
        "alike": (1, 2, 2, 0), "high": (1, 2, 2, 0), "middle": (3, 3, 1, 2), "low": (4, 4, 0, 3)
    }  # fmt: skip


def test_where_lower_is_better(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["vendi"]["direction"] = "lower"
    found = ranked(manifest, {"low": 1.0, "high": 5.0})
    assert found == {"low": (1, 1, 1, 0), "high": (2, 2, 0, 1)}


def test_one_model_is_first_of_one(manifest: dict[str, Any]) -> None:
    assert ranked(manifest, {"only": 1.0}) == {"only": (1, 1, 0, 0)}


def test_many_models_are_not_all_first(manifest: dict[str, Any]) -> None:
    """Each differs from its neighbours by less than any test sees, the ends by much."""
    levels = {f"m{i:03}": 0.02 * i for i in range(40)}
    found = ranked(manifest, levels, spread=0.3, prompts=30)
    first = [model for model, (rank, *_) in found.items() if rank == 1]
    assert 1 < len(first) < 40
    assert found["m039"][0] == 1
    assert found["m000"][0] > 10  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"direction": "none"}, NO_DIRECTION),
        ({"count_sensitive": True}, UNEQUAL),
        ({}, NO_SCORES),
    ],
)
def test_what_cannot_be_ranked_says_why(
    manifest: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    levels = {"low": 1.0, "high": 5.0}
    manifest["metrics"]["vendi"].update(change)
    rows = study(levels).to_pylist()
    for row in rows[:20]:
        row["n"] = 7  # half of the prompts of "low"
    scores = None if reason == NO_SCORES else pa.Table.from_pylist(rows, SCORE_SCHEMA)
    board = build_leaderboard(means(study(levels)), manifest_of(manifest, A, *levels), scores)
    found = {board.model_by_id[row.model].name: row for row in board.rows}
    assert found["low"].unranked == reason
    assert found["low"].rank is None
    # The other has ten responses to every prompt, and is alone there.
    assert found["high"].rank == (1 if reason == UNEQUAL else None)


def test_one_prompt_ranks_nobody(manifest: dict[str, Any]) -> None:
    levels = {"low": 1.0, "high": 5.0}
    scores = study(levels, prompts=1)
    board = build_leaderboard(means(scores), manifest_of(manifest, A, *levels), scores)
    assert {(row.rank, row.unranked) for row in board.rows} == {(None, FEW_PROMPTS)}


def unequal(levels: dict[str, float]) -> pa.Table:
    """Scores of which the first model's are of eight responses, the others' of sixteen."""
    first = next(iter(levels))
    rows = [{**row, "n": 8 if row["model"] == first else 16} for row in study(levels).to_pylist()]
    return pa.Table.from_pylist(rows, SCORE_SCHEMA)


def test_different_numbers_of_responses_are_not_ranked_together(manifest: dict[str, Any]) -> None:
    levels = {"eight": 1.0, "sixteen": 5.0}
    scores = unequal(levels)
    told = manifest_of(manifest, A, *levels)
    together = build_leaderboard(means(scores), told, scores)
    assert sorted(row.rank or 0 for row in together.rows) == [1, 2]  # of what they do not move
    told["metrics"]["vendi"]["count_sensitive"] = True
    apart = build_leaderboard(means(scores), told, scores)
    assert {(row.rank, row.responses) for row in apart.rows} == {(1, 8), (1, 16)}


def test_a_board_ranks_at_the_number_that_all_models_reach(manifest: dict[str, Any]) -> None:
    """Scored at eight too, of which one prompt has fewer, and one model has a single response."""
    levels = {"eight": 1.0, "sixteen": 5.0, "one": 3.0}
    rows = unequal(levels).to_pylist()
    for row in rows:
        row["n"] = 1 if row["model"] == "one" else row["n"]
    rows[0]["n"] = 5
    scores = pa.Table.from_pylist(rows, SCORE_SCHEMA)
    at_eight = [
        {**{k: v for k, v in row.items() if k != "reason"}, "value": 0.9, "n": 8, "noise": 0.0}
        for row in rows
        if row["model"] == "sixteen"
    ]
    smaller = pa.Table.from_pylist(at_eight, EQUAL_SCHEMA)
    told = manifest_of(manifest, A, *levels)
    told["metrics"]["vendi"]["count_sensitive"] = True
    made = board_of_run(means(scores), told, scores, smaller=smaller)
    found = {name_of(made.board, row): row for row in made.board.rows}
    assert {name: row.responses for name, row in found.items()} == {
        "eight": 8, "sixteen": 8, "one": 1
    }  # fmt: skip
    assert found["sixteen"].value == found["sixteen"].low == pytest.approx(0.9)
    assert (found["eight"].n, found["eight"].undefined) == (39, 1)
    assert found["sixteen"].rank == found["eight"].rank == 1
    assert (found["one"].rank, found["one"].unranked) == (None, TOO_FEW)
    assert made.scores is not None
    (left_out,) = (row for row in made.scores.to_pylist() if row["value"] is None)
    assert left_out["reason"] == "fewer than 8 responses, at which the board ranks"


def test_a_corpus_value_is_no_prompt_beside_its_blocks(manifest: dict[str, Any]) -> None:
    levels = {"low": 1.0, "high": 5.0, "other": 9.0}
    blocks = study(levels, prompts=6, spread=0.1)
    rows = means(blocks)
    whole = [
        Score(m, "open-prompts", None, "vendi", v, None, 10)
        for m, v in zip(rows["model"].to_pylist(), rows["value"].to_pylist(), strict=True)
    ]
    scores = pa.concat_tables([blocks, to_table(whole, SCORE_SCHEMA)])
    told = manifest_of(manifest, A, *levels)
    assert len(defining_scores(board_of_run(rows, told, scores).scores)) == len(blocks)
    assert build_leaderboard(rows, told, scores).rows == build_leaderboard(rows, told, blocks).rows
    only = to_table(whole, SCORE_SCHEMA)
    assert len(defining_scores(board_of_run(rows, told, only).scores)) == 3
    assert {row.rank for row in build_leaderboard(rows, told, only).rows} == {None}


def test_two_values_of_one_prompt_are_named(manifest: dict[str, Any]) -> None:
    scores = study({"a": 1.0}).slice(0, 3)
    twice = scores.take([0, 1, 1])
    with pytest.raises(DataError, match="two values of 'vendi' for one prompt of 'open-prompts"):
        build_leaderboard(means(scores), manifest_of(manifest, A, "a"), twice)


def test_ranks_that_were_there_are_not_believed(manifest: dict[str, Any]) -> None:
    made = board_of_run(means(scores := study({"a": 1.0})), manifest_of(manifest, A, "a"), scores)
    names = {task.id: task.name for task in made.board.tasks}
    forged = [replace(row, rank=7, rank_last=9) for row in made.board.rows]
    assert rank_rows(forged, made.board.metric_by_id, made.scores, names) == made.board.rows
