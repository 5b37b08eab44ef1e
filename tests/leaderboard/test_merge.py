from __future__ import annotations

import copy
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest
from support.boards import A, B, C, source

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Source
from tofu_eval.leaderboard.merge import merge


def ranks(board: dict[str, Any]) -> dict[str, int | None]:
    return {row["model"]: row["rank"] for row in board["rows"]}


def test_people_together_are_ranked_together(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0, "sft": 3.0})
    other = source(manifest, B, {"tofu": 4.0, "gem": 4.01})
    merged = merge([one, other])
    assert ranks(merged.board) == {"base": 1, "gem": 2, "tofu": 2, "sft": 4}
    assert [run["id"] for run in merged.board["runs"]] == [A, B]
    assert (merged.added, merged.replaced, merged.remarks) == (2, 0, [])
    assert merged.scores is not None
    assert len(merged.scores) == 4 * 40


def test_merging_again_changes_nothing(manifest: dict[str, Any]) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"tofu": 4.0})
    first = merge([one, other])
    again = merge([Source("board", first.board, first.scores), other])
    assert again.board == first.board
    assert again.scores == first.scores
    assert (again.added, again.replaced) == (0, 0)


def test_no_order_of_merging_loses_or_changes_a_row(manifest: dict[str, Any]) -> None:
    sources = [
        source(manifest, A, {"base": 5.0, "sft": 3.0}),
        source(manifest, B, {"base": 4.0}),
        source(manifest, C, {"tofu": 4.0}, tasks=_task(manifest, version=2)),
    ]
    found = []
    for order in permutations(sources):
        board = merge(order).board
        whole = merge([Source("x", merge(order[:2]).board, merge(order[:2]).scores), order[2]])
        assert sorted(board["rows"], key=str) == sorted(whole.board["rows"], key=str)
        found.append(sorted(board["rows"], key=str))
    assert all(rows == found[0] for rows in found)


def _task(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"open-prompts": {**manifest["tasks"]["open-prompts"], **changes}}


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"version": 2, "digest": "cd" * 32}, "version, digest"),
        ({"digest": "cd" * 32, "prompts": 59}, "digest, prompts"),
        (
            {"sampling": {"samples": 5, "temperature": 1.0, "top_p": 1.0, "max_tokens": 256}},
            "sampling",
        ),
    ],
)
def test_tasks_of_one_name_that_differ_are_kept_apart(
    manifest: dict[str, Any], changes: dict[str, Any], differ: str
) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0}, tasks=_task(manifest, **changes))
    merged = merge([one, other])
    first, second = (task["id"] for task in merged.board["tasks"])
    assert first.startswith("open-prompts#")
    assert second.startswith("open-prompts#")
    assert first != second
    assert [row["task"] for row in merged.board["rows"]] == [first, second]
    assert [run["places"][0]["task"] for run in merged.board["runs"]] == [first, second]
    assert ranks(merged.board) == {"base": 1, "tofu": 1}  # each alone
    assert merged.remarks == [
        f"2 different tasks are called 'open-prompts' and are kept apart ({first}, {second}): "
        f"they differ in {differ}"
    ]


def test_models_and_metrics_of_one_name_that_differ_are_kept_apart(
    manifest: dict[str, Any],
) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"base": 4.0})
    other.board["models"][0]["identity"] = {"files": {"w": "others"}}
    other.board["metrics"][0]["package"] = {"name": "somebodys", "version": "1"}
    merged = merge([one, other])
    assert len({model["id"] for model in merged.board["models"]}) == 2
    assert len({row["metric"] for row in merged.board["rows"]}) == 2
    assert "2 different models are called 'base'" in merged.remarks[0]
    assert "they differ in identity" in merged.remarks[0]
    assert "they differ in package" in merged.remarks[1]


def test_signatures_that_differ_are_not_ranked_together(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0})
    other.board["rows"][0]["signature"] = "vendi|v:1|q:0.5"
    assert ranks(merge([one, other]).board) == {"base": 1, "tofu": 1}


def test_one_model_measured_twice_keeps_both_rows(manifest: dict[str, Any]) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"base": 4.0})
    merged = merge([one, other])
    assert [row["value"] for row in merged.board["rows"]] == pytest.approx([5.0, 4.0], abs=0.2)
    assert len(merged.board["models"]) == 1
    assert merged.remarks == [
        f"base on open-prompts was measured by 2 runs ({A}, {B}): each keeps its own rows"
    ]


def test_a_run_that_was_scored_again_replaces_its_rows(manifest: dict[str, Any]) -> None:
    old = source(manifest, A, {"base": 5.0, "sft": 3.0})
    new = source(manifest, A, {"base": 4.0}, finished="2026-03-02T00:00:00+00:00")
    for order in ([old, new], [new, old]):
        merged = merge(order)
        values = {row["model"]: row["value"] for row in merged.board["rows"]}
        assert values == pytest.approx({"base": 4.0, "sft": 3.0}, abs=0.2)
        assert merged.board["runs"][0]["finished"] == "2026-03-02T00:00:00+00:00"
        assert len(merged.board["runs"][0]["places"]) == 2
        assert "1 rows are of a run that was scored again in between" in merged.remarks[0]
        assert merged.scores is not None
        assert len(merged.scores) == 2 * 40
    assert merge([old, new]).replaced == 1
    assert merge([new, old]).replaced == 0


def test_one_run_with_two_truths_is_refused(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = copy.deepcopy(one.board)
    other["rows"][0].update(value=5.05)
    with pytest.raises(DataError, match=r"forged and a.json hold different rows of 'vendi'"):
        merge([one, Source("forged", other, one.scores)])
    other = copy.deepcopy(one.board)
    other["runs"][0]["seed"] = 1
    with pytest.raises(DataError, match=r"differ in 'seed' of the run a{16}"):
        merge([one, Source("forged", other, one.scores)])


def test_facts_that_do_not_matter_are_named(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0}, tasks=_task(manifest, licence="MIT"))
    merged = merge([one, other])
    assert len(merged.board["tasks"]) == 1
    assert merged.board["tasks"][0]["licence"] == "Apache-2.0"
    assert merged.remarks == [
        'b.json says licence "MIT" of the task \'open-prompts\', another board "Apache-2.0": '
        "the latter is kept"
    ]


def test_without_per_prompt_rows_ranks_stay_or_go(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0, "sft": 3.0}, per_prompt=False)
    apart = source(manifest, B, {"tofu": 4.0}, tasks=_task(manifest, version=2), per_prompt=False)
    assert ranks(merge([one, apart]).board) == {"base": 1, "sft": 2, "tofu": 1}
    among = source(manifest, B, {"tofu": 4.0}, per_prompt=False)
    merged = merge([one, among])
    assert ranks(merged.board) == {"base": None, "sft": None, "tofu": None}
    assert "1 groups of rows from several runs are not ranked" in merged.remarks[0]
    assert merged.scores is None


def test_per_prompt_rows_that_come_later_are_taken(manifest: dict[str, Any]) -> None:
    bare = source(manifest, A, {"base": 5.0}, per_prompt=False)
    merged = merge([bare, source(manifest, A, {"base": 5.0})])
    assert (merged.added, merged.replaced) == (0, 0)
    assert isinstance(merged.scores, pa.Table)
    assert len(merged.scores) == 40
