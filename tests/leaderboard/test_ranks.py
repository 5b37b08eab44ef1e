from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import permutation_test
from support.boards import A, manifest_of, means, study

from tofu_eval.analysis import holm, paired_difference
from tofu_eval.core.errors import DataError
from tofu_eval.core.types import SCORE_SCHEMA, Score, to_table
from tofu_eval.leaderboard import build_leaderboard
from tofu_eval.leaderboard.prompt_scores import BOARD_SCORE_SCHEMA, of_prompts, of_run
from tofu_eval.leaderboard.ranks import _clusters, _pair_tests, ranked


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


def test_a_chain_of_ties_is_one_rank_and_the_counts_tell() -> None:
    # 0 is better than 2, but neither differs from 1; 3 is below all.
    better = np.zeros((4, 4), dtype=bool)
    better[0, 2] = True
    better[:3, 3] = True
    assert _clusters(better) == [0, 3]
    better[0, 1] = True
    assert _clusters(better) == [0, 1, 3]
    assert _clusters(np.zeros((3, 3), dtype=bool)) == [0]
    assert _clusters(np.zeros((1, 1), dtype=bool)) == [0]


@pytest.mark.parametrize("prompts", [2, 8, 13])
def test_few_prompts_are_exact_as_in_scipy(prompts: int) -> None:
    matrix = np.random.default_rng(1).normal(size=(4, prompts)).round(1)
    first, second = np.triu_indices(4, k=1)
    p, above = _pair_tests(matrix, first, second, seed=0)
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        differences = matrix[a] - matrix[b]
        wanted = permutation_test((differences,), np.mean, permutation_type="samples")
        assert p[i] == pytest.approx(wanted.pvalue)
        assert above[i] == (differences.sum() > 0)


def test_many_prompts_agree_with_the_paired_test_and_its_limit() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(5, 60)) + np.linspace(0, 0.6, 5)[:, None]
    matrix[0, :20] = np.nan  # pairs on the prompts that both have
    first, second = np.triu_indices(5, k=1)
    flipped, _ = _pair_tests(matrix, first, second, seed=0)
    # So many pairs that random flips could not tell what Holm asks for.
    many = np.tile(first, 30), np.tile(second, 30)
    limit = _pair_tests(matrix, *many, seed=0)[0][: len(first)]
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        columns = [dict(enumerate(map(float, matrix[m]))) for m in (a, b)]
        wanted = paired_difference(*columns, seed=1).p_value
        assert flipped[i] == pytest.approx(wanted, abs=0.025)
        assert limit[i] == pytest.approx(wanted, abs=0.025)


def test_a_group_too_large_for_flips_is_still_ranked(manifest: dict[str, Any]) -> None:
    models = {f"m{i}": float(i) for i in range(25)}  # 300 pairs
    found = told(manifest, models, spread=0.2)
    assert [found[f"m{i}"][0] for i in range(25)] == list(range(25, 0, -1))


def test_under_no_difference_a_rank_is_seldom_made() -> None:
    """Holm holds the chance of any false rank in a group at 5%; with 3 models, 200 groups."""
    rng = np.random.default_rng(3)
    first, second = np.triu_indices(3, k=1)
    false = 0
    for seed in range(200):
        p, _ = _pair_tests(rng.normal(size=(3, 30)), first, second, seed)
        false += min(holm(p.tolist())) < 0.05
    assert false <= 18  # 1 in 100 binomial(200, 0.05) is above


def test_two_values_of_one_prompt_are_named(manifest: dict[str, Any]) -> None:
    scores = study({"a": 1.0}).slice(0, 3)
    twice = of_run("a" * 16, scores).take([0, 1, 1])
    row = {"run": "a" * 16, "model": "a", "task": "open-prompts", "metric": "vendi"}
    rows = [{**row, "value": 1.0, "signature": "s"}]
    with pytest.raises(DataError, match="two values of 'vendi' for one prompt of 'open-prompts'"):
        ranked(rows, {"vendi": "higher"}, twice)
    assert ranked(rows, {"vendi": "higher"}, BOARD_SCORE_SCHEMA.empty_table())[0]["rank"] is None
