from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from support.boards import A, manifest_of, means, study

from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.leaderboard import build_leaderboard
from tofu_eval.leaderboard.prompt_scores import BOARD_SCORE_SCHEMA, of_prompts, of_run
from tofu_eval.leaderboard.ranks import ranked


def told(manifest: dict[str, Any], levels: dict[str, float], **how: Any) -> dict[str, tuple]:
    """Rank, better_than and worse_than by model."""
    scores = study(levels, **how)
    board = build_leaderboard(means(scores), manifest_of(manifest, "a" * 16, *levels), scores)
    return {r["model"]: (r["rank"], r["better_than"], r["worse_than"]) for r in board["rows"]}


def test_clear_differences_are_ranks_and_others_ties(manifest: dict[str, Any]) -> None:
    found = told(manifest, {"low": 1.0, "high": 5.0, "alike": 5.01, "middle": 3.0})
    assert found == {"alike": (1, 2, 0), "high": (1, 2, 0), "middle": (3, 1, 2), "low": (4, 0, 3)}


def test_where_lower_is_better(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["vendi"]["direction"] = "lower"
    found = told(manifest, {"low": 1.0, "high": 5.0})
    assert found == {"low": (1, 1, 0), "high": (2, 0, 1)}


def test_what_has_no_better_has_no_rank(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["vendi"]["direction"] = "none"
    assert told(manifest, {"low": 1.0, "high": 5.0}) == dict.fromkeys(
        ["low", "high"], (None, None, None)
    )


def test_one_prompt_ranks_nobody(manifest: dict[str, Any]) -> None:
    assert told(manifest, {"low": 1.0, "high": 5.0}, prompts=1) == dict.fromkeys(
        ["low", "high"], (None, None, None)
    )


def test_a_corpus_value_is_no_prompt_beside_its_blocks(manifest: dict[str, Any]) -> None:
    levels = {"low": 1.0, "high": 5.0, "other": 9.0}
    blocks = study(levels, prompts=6, spread=0.1)
    rows = means(blocks)
    whole = [
        Score(m, "open-prompts", None, "vendi", v, None, 10)
        for m, v in zip(rows["model"].to_pylist(), rows["value"].to_pylist(), strict=True)
    ]
    scores = pa.concat_tables([blocks, to_table(whole, SCORE_SCHEMA)])
    assert len(of_prompts(of_run(A, scores))) == len(blocks)
    told = manifest_of(manifest, A, *levels)
    alone = build_leaderboard(rows, told, blocks)["rows"]
    assert build_leaderboard(rows, told, scores)["rows"] == alone
    only = to_table(whole, SCORE_SCHEMA)
    assert len(of_prompts(of_run(A, only))) == 3
    assert {row["rank"] for row in build_leaderboard(rows, told, only)["rows"]} == {None}


def test_one_model_is_first_of_one(manifest: dict[str, Any]) -> None:
    assert told(manifest, {"only": 1.0}) == {"only": (1, 0, 0)}


def test_a_group_of_many_pairs_is_still_ranked(manifest: dict[str, Any]) -> None:
    models = {f"m{i}": float(i) for i in range(25)}  # 300 pairs
    found = told(manifest, models, spread=0.2)
    assert [found[f"m{i}"][0] for i in range(25)] == list(range(25, 0, -1))


def test_two_values_of_one_prompt_are_named(manifest: dict[str, Any]) -> None:
    scores = study({"a": 1.0}).slice(0, 3)
    twice = of_run("a" * 16, scores).take([0, 1, 1])
    row = {"run": "a" * 16, "model": "a", "task": "open-prompts", "metric": "vendi"}
    rows = [{**row, "value": 1.0, "signature": "s"}]
    with pytest.raises(DataError, match="two values of 'vendi' for one prompt of 'open-prompts'"):
        ranked(rows, {"vendi": "higher"}, twice)
    assert ranked(rows, {"vendi": "higher"}, BOARD_SCORE_SCHEMA.empty_table())[0]["rank"] is None
