from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.boards import A, B, C, name_of, ranks, source, study, with_row

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.board import Board, Source, signed
from tofu_eval.leaderboard.file import file_content
from tofu_eval.leaderboard.merge import Merged, merge
from tofu_eval.leaderboard.publishing import save_board

AGAIN = "2026-03-02T00:00:00+00:00"


def of(merged: Merged) -> Source:
    return Source("merged", merged.board, merged.scores)


def values(board: Board) -> dict[str, float | None]:
    return {name_of(board, row): row.value for row in board.rows}


def test_people_together_are_ranked_together(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0, "sft": 3.0})
    other = source(manifest, B, {"tofu": 4.0, "gem": 4.01})
    merged = merge([one, other])
    assert ranks(merged.board) == {"base": 1, "gem": 2, "tofu": 2, "sft": 4}
    assert [run.id for run in merged.board.runs] == [A, B]
    assert (merged.added, merged.replaced, merged.remarks) == (2, 0, [])
    assert merged.scores is not None
    assert len(merged.scores) == 4 * 40


def test_merging_again_changes_nothing(manifest: dict[str, Any]) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"tofu": 4.0})
    first = merge([one, other])
    again = merge([of(first), other])
    assert again.board == first.board
    assert again.scores == first.scores
    assert (again.added, again.replaced) == (0, 0)


def three(manifest: dict[str, Any]) -> list[Source]:
    """Boards that share a model, a file and a name, and differ in a task."""
    file = {"identity": {"kind": "file", "sha256": "ab"}, "engine": "file"}
    one = source(manifest, A, {"base": 5.0, "sft": 3.0})
    other = source(
        manifest,
        B,
        {"base": 4.0, "mine": 2.0},
        models={
            "base": {"identity": {"files": {"w": "another"}}, "engine": "hf"},
            "mine": {**file, "series": "b"},
        },
    )
    third = source(
        manifest,
        C,
        {"tofu": 4.0, "theirs": 2.0},
        tasks=task(manifest, version=2, licence="MIT"),
        models={
            "tofu": {"identity": {"files": {"w": "tofu"}}, "engine": "hf"},
            "theirs": {**file, "series": "a"},
        },
    )
    return [one, other, third]


def task(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"open-prompts": {**manifest["tasks"]["open-prompts"], **changes}}


def test_any_order_gives_the_same_bytes(manifest: dict[str, Any], tmp_path: Path) -> None:
    found = set()
    for number, order in enumerate(permutations(three(manifest))):
        at_once = merge(order)
        in_turn = merge([of(merge(order[:2])), order[2]])
        nested = merge([order[0], of(merge(order[1:]))])
        for way, merged in enumerate((at_once, in_turn, nested)):
            folder = tmp_path / f"{number}-{way}"
            save_board(folder / "board.json", merged)
            visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
            files = sorted((path.name, path.read_bytes()) for path in visible)
            found.add(tuple(files))
    assert len(found) == 1
    assert len(next(iter(found))) == 4  # the board, and a file a run


def test_a_second_base_does_not_rename_the_first(manifest: dict[str, Any]) -> None:
    one, other, _ = three(manifest)
    before = {row.key for row in one.board.rows}
    merged = merge([one, other])
    assert before < {row.key for row in merged.board.rows}
    bases = [model for model in merged.board.models if model.name == "base"]
    assert len(bases) == 2
    assert "2 different models are called 'base' and are kept apart" in merged.remarks[0]
    assert "they differ in identity" in merged.remarks[0]


def test_one_file_under_two_names_is_one_model(manifest: dict[str, Any]) -> None:
    _, other, third = three(manifest)
    merged = merge([other, third])
    (model,) = (model for model in merged.board.models if model.engine == "file")
    assert (model.name, model.aliases, model.series) == ("mine", ("theirs",), "a")
    assert any("mine and theirs are one model under 2 names" in r for r in merged.remarks)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2, "digest": "cd" * 32},
        {"digest": "cd" * 32, "prompts": 59},
        {"sampling": {"samples": 5, "temperature": 1.0, "top_p": 1.0, "max_tokens": 256}},
    ],
)
def test_tasks_of_one_name_that_differ_are_kept_apart(
    manifest: dict[str, Any], changes: dict[str, Any]
) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0}, tasks=task(manifest, **changes))
    merged = merge([one, other])
    first, second = (task.id for task in merged.board.tasks)
    assert first.startswith("open-prompts#")
    assert second.startswith("open-prompts#")
    assert first != second
    assert {row.task for row in one.board.rows} < {row.task for row in merged.board.rows}
    assert ranks(merged.board) == {"base": 1, "tofu": 1}  # each alone
    differ = ", ".join(sorted(changes, key=list(manifest["tasks"]["open-prompts"]).index))
    (remark,) = merged.remarks
    assert remark.startswith("2 different tasks are called 'open-prompts' and are kept apart (")
    assert set(remark.partition("they differ in ")[2].split(", ")) == set(differ.split(", "))


def test_metrics_of_others_that_share_a_name_are_kept_apart(manifest: dict[str, Any]) -> None:
    metric = manifest["metrics"]["vendi"]
    theirs = {"vendi": {**metric, "package": {"name": "somebodys", "version": "1"}}}
    own = {"vendi": {**metric, "package": None}}
    merged = merge(
        [
            source(manifest, A, {"base": 5.0}),
            source(manifest, B, {"tofu": 4.0}, metrics=theirs),
            source(manifest, C, {"gem": 4.0}, metrics=own),
        ]
    )
    assert sorted(row.metric.partition("#")[0] for row in merged.board.rows) == ["vendi"] * 3
    assert "vendi" in {row.metric for row in merged.board.rows}
    assert len({row.metric for row in merged.board.rows}) == 3
    assert "they differ in package" in merged.remarks[0]


def test_a_metric_of_this_package_means_one_thing(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    flipped = {"vendi": {**manifest["metrics"]["vendi"], "direction": "lower"}}
    other = source(manifest, B, {"tofu": 4.0}, metrics=flipped)
    with pytest.raises(
        DataError, match=r'says direction "lower" of the metric \'vendi\'.*"higher"'
    ):
        merge([one, other])


def test_signatures_that_differ_are_not_ranked_together(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0})
    other = replace(other, board=with_row(other.board, 0, signature="vendi|v:1|q:0.5"))
    assert ranks(merge([one, other]).board) == {"base": 1, "tofu": 1}


def test_releases_of_this_package_are_ranked_together(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    tool = {**manifest["tool"], "version": "0.1.1"}
    package = {"name": "tofu-eval", "version": "0.1.1"}
    newer = {"vendi": {**manifest["metrics"]["vendi"], "package": package}}
    other = source(manifest, B, {"tofu": 4.0}, tool=tool, metrics=newer)
    merged = merge([one, other])
    assert ranks(merged.board) == {"base": 1, "tofu": 2}
    assert merged.remarks == []


def test_different_numbers_of_responses_are_never_one_block(manifest: dict[str, Any]) -> None:
    manifest["metrics"]["vendi"]["count_sensitive"] = True
    sixteen = pa.Table.from_pylist([{**r, "n": 16} for r in study({"tofu": 4.0}).to_pylist()])
    scores = sixteen.select(study({"x": 1.0}).schema.names).cast(study({"x": 1.0}).schema)
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0}, scores=scores)
    board = merge([one, other]).board
    assert {(name_of(board, r), r.responses, r.rank) for r in board.rows} == {
        ("base", 10, 1), ("tofu", 16, 1)
    }  # fmt: skip


def test_one_model_measured_twice_keeps_both_rows(manifest: dict[str, Any]) -> None:
    one, other = source(manifest, A, {"base": 5.0}), source(manifest, B, {"base": 4.0})
    merged = merge([one, other])
    found = [row.value for row in sorted(merged.board.rows, key=lambda row: row.run)]
    assert found == pytest.approx([5.0, 4.0], abs=0.2)
    assert len(merged.board.models) == 1
    assert merged.remarks == [
        f"base on open-prompts was measured by 2 runs ({A}, {B}): each keeps its own rows"
    ]


def test_one_measurement_of_two_runs_stands_once(manifest: dict[str, Any]) -> None:
    file = {"base": {"identity": {"kind": "file", "sha256": "ab"}, "engine": "file"}}
    one = source(manifest, A, {"base": 5.0}, models=file)
    other = source(manifest, B, {"base": 4.0}, models=file, finished=AGAIN)
    for order in ([one, other], [other, one]):
        merged = merge(order)
        (row,) = merged.board.rows
        assert row.run == B  # the one that was scored last
        assert [run.id for run in merged.board.runs] == [B]
        assert "1 rows are measurements that another run made too" in merged.remarks[0]
        assert merged.scores is not None
        assert len(merged.scores) == 40
    # Generated again under one seed, with the same numbers: the same responses.
    seed = {"settings": {"seed": 0}}
    twin = [source(manifest, id, {"base": 5.0}, **seed) for id in (A, B)]
    assert len(merge(twin).board.rows) == 1


def test_a_run_that_was_scored_again_replaces_its_rows(manifest: dict[str, Any]) -> None:
    old = source(manifest, A, {"base": 5.0, "sft": 3.0})
    new = source(manifest, A, {"base": 4.0}, finished=AGAIN)
    for order in ([old, new], [new, old]):
        merged = merge(order)
        assert values(merged.board) == pytest.approx({"base": 4.0, "sft": 3.0}, abs=0.2)
        assert merged.board.runs[0].finished == AGAIN
        assert len(merged.board.runs[0].cells) == 2
        assert "1 rows are of a run that was scored again in between" in merged.remarks[0]
        assert merged.scores is not None
        assert len(merged.scores) == 2 * 40
    assert merge([old, new]).replaced == 1
    assert merge([new, old]).replaced == 0


def test_one_run_with_two_truths_is_refused(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    forged = with_row(one.board, 0, value=5.05)
    with pytest.raises(DataError, match=r"forged and a.json hold different rows of 'vendi'"):
        merge([one, Source("forged", forged, one.scores)])
    forged = replace(one.board, runs=(replace(one.board.runs[0], seed=1),))
    with pytest.raises(DataError, match=r"differ in 'seed' of the run a{16}"):
        merge([one, Source("forged", forged, one.scores)])


def test_per_prompt_rows_with_two_truths_are_refused(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    assert one.scores is not None
    rows = one.scores.to_pylist()
    rows[0]["value"] += 0.25
    forged = pa.Table.from_pylist(rows, schema=one.scores.schema)
    with pytest.raises(DataError, match="Two boards hold different values of 'vendi' for prompt"):
        merge([one, Source("forged", one.board, forged)])


def test_ranks_with_two_truths_are_refused(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0, "sft": 3.0}, per_prompt=False)
    rows = tuple(
        replace(row, rank=1, rank_last=2, better_than=0, worse_than=0) for row in one.board.rows
    )
    forged = Source("forged", replace(one.board, rows=rows))
    for order in ([one, forged], [forged, one]):
        with pytest.raises(DataError, match=r"ranks 'vendi' on .* otherwise than another board"):
            merge(order)


def test_facts_that_do_not_matter_are_named(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0})
    other = source(manifest, B, {"tofu": 4.0}, tasks=task(manifest, licence="MIT"))
    for order, mine, theirs in (
        ([one, other], "MIT", "Apache-2.0"),
        ([other, one], "Apache-2.0", "MIT"),
    ):
        merged = merge(order)
        assert len(merged.board.tasks) == 1
        assert merged.board.tasks[0].licence == "Apache-2.0"
        assert merged.remarks == [
            f"{order[1].name} says licence \"{mine}\" of the task 'open-prompts', another board "
            f'"{theirs}": "Apache-2.0" is kept'
        ]


def test_without_per_prompt_rows_ranks_stay_or_go(manifest: dict[str, Any]) -> None:
    one = source(manifest, A, {"base": 5.0, "sft": 3.0}, per_prompt=False)
    apart = source(manifest, B, {"tofu": 4.0}, tasks=task(manifest, version=2), per_prompt=False)
    assert ranks(merge([one, apart]).board) == {"base": 1, "sft": 2, "tofu": 1}
    among = source(manifest, B, {"tofu": 4.0}, per_prompt=False)
    merged = merge([one, among])
    assert ranks(merged.board) == {"base": None, "sft": None, "tofu": None}
    assert "1 blocks of rows from several runs are not ranked" in merged.remarks[0]
    assert merged.scores is None


def test_per_prompt_rows_that_come_later_are_taken(manifest: dict[str, Any]) -> None:
    bare = source(manifest, A, {"base": 5.0}, per_prompt=False)
    merged = merge([bare, source(manifest, A, {"base": 5.0})])
    assert (merged.added, merged.replaced) == (0, 0)
    assert isinstance(merged.scores, pa.Table)
    assert len(merged.scores) == 40


def test_a_merged_board_can_be_written(manifest: dict[str, Any]) -> None:
    assert file_content(merge(three(manifest)).board).endswith(b"}\n")


def test_who_measured_stays_with_the_run_in_any_order(manifest: dict[str, Any]) -> None:
    plain = source(manifest, A, {"base": 5.0, "sft": 3.0})
    by_ada = replace(plain, board=signed(plain.board, "Ada"))
    by_emmy = replace(plain, board=signed(plain.board, "Emmy"))
    assert signed(by_ada.board, "Emmy") == by_ada.board
    for order in permutations([plain, by_ada, by_emmy]):
        assert [run.by for run in merge(order).board.runs] == ["Ada"]
    assert [run.by for run in merge([plain, plain]).board.runs] == [None]
