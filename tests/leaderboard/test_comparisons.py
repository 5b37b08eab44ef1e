"""What a board says beside its numbers: the answer of each run, its warnings, its clusters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.boards import reseal
from support.commands import invoke, refused

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import merge, open_board, validate
from tofu_eval.leaderboard.exports.csv import as_csv
from tofu_eval.leaderboard.exports.latex import as_latex
from tofu_eval.leaderboard.exports.markdown import as_markdown
from tofu_eval.leaderboard.publishing import save_board
from tofu_eval.leaderboard.ranks import CLUSTERS, LENGTHS
from tofu_eval.leaderboard.view import select, warnings_of_board

WORDS = [f"word{i:02}" for i in range(40)]


def text(start: int, length: int, words: int) -> str:
    return " ".join(WORDS[(start * 7 + i * i * (1 + start % 5)) % words] for i in range(length))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """long has twice the words of base, poor has few; 24 prompts of 6 topics."""
    folder = tmp_path_factory.mktemp("told")
    rows = [
        {
            "prompt": f"Question {p}?",
            "model": model,
            "category": f"topic{p % 6}",
            "responses": [text(p + 5 * k, length, words) for k in range(4)],
        }
        for model, length, words in (("base", 6, 40), ("long", 12, 40), ("poor", 6, 4))
        for p in range(24)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done(
        "score", folder / "rows.jsonl", "--output", folder / "run",
        "--metric", "distinct_1", "--metric", "unique_rate",
    )  # fmt: skip
    return folder / "run"


def done(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def build(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Build a board with its per-prompt rows."""

    def made(*flags: str, name: str = "board") -> Path:
        path = tmp_path / f"{name}.json"
        done("leaderboard", "build", run, "--scores", "--output", path, *flags)
        return path

    return made


def row_of(path: Path, model: str, metric: str) -> Any:
    board = open_board(path).board
    return next(
        row
        for row in board.rows
        if (board.model_by_id[row.model].name, row.metric) == (model, metric)
    )


def test_what_length_alone_tells_apart_is_not_ranked_against(build: Callable[..., Path]) -> None:
    path = build()
    # `long` compares with no other: both are half as long.
    assert row_of(path, "long", "distinct_1").unranked == LENGTHS
    assert (row_of(path, "base", "distinct_1").rank, row_of(path, "poor", "distinct_1").rank) == (
        1,
        2,
    )


def test_every_output_has_the_warnings(build: Callable[..., Path]) -> None:
    path = build()
    board = open_board(path).board
    (said,) = [line for line in warnings_of_board(board) if "length moves the value" in line]
    start = said.partition("_")[0][:40]
    for made in (as_markdown(board), as_latex(board), as_csv(board)):
        assert start in " ".join(made.split())
    assert start in " ".join(done("leaderboard", "show", path).split())
    # Of a model that no warning is about, none is shown.
    assert not any("long" in line for line in warnings_of_board(select(board, models=["poor"])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["comparisons"][0].update(warnings=[]), "expected a warning of unequal"),
        (lambda c: c["comparisons"][0].update(run="0" * 16), "expected one of the runs listed"),
        (lambda c: c["comparisons"][0].update(baseline=["x"]), "expected models that are listed"),
        (lambda c: c["comparisons"].append(c["comparisons"][0]), "the same run as"),
        (lambda c: c["comparisons"][0]["warnings"][0].update(task="x"), "expected tasks that are"),
        (lambda c: c["comparisons"][0]["warnings"][0].pop("text"), "'text' is missing"),
        (lambda c: [row.update(characters=None) for row in c["rows"]], "expected no warning"),
    ],
)  # fmt: skip
def test_what_a_forger_says_is_refused(
    build: Callable[..., Path], change: Callable[[Any], Any], said: str
) -> None:
    path = build()
    reseal(path, change)
    assert said in refused("leaderboard", "validate", path)


def test_text_of_others_is_escaped(build: Callable[..., Path]) -> None:
    path = build()
    evil = "a|b <script>\x1b[31m =1+1 \\input{x}"
    reseal(path, lambda c: c["comparisons"][0].update(answer=evil))
    board = open_board(path).board
    assert "<script>" not in as_markdown(board)
    assert "\\input{x}" not in as_latex(board)
    assert "\x1b" not in done("leaderboard", "show", path)


def test_merging_keeps_one_comparison_a_run_in_any_order(build: Callable[..., Path]) -> None:
    one, other = build(name="one"), build("--baseline", "poor", name="other")
    sources = [open_board(path) for path in (one, other)]
    both = [merge(some) for some in (sources, sources[::-1])]
    assert both[0].board == both[1].board
    assert len(both[0].board.comparisons) == 1
    assert any("compared in 2 ways" in remark for remark in both[0].remarks)


def test_clusters_are_on_the_board(build: Callable[..., Path], tmp_path: Path) -> None:
    path = build("--cluster", "category", name="clustered")
    row = row_of(path, "base", "distinct_1")
    assert (row.cluster, row.n) == ("category", 24)
    assert "over 6 clusters of prompts" in row.method
    plain = row_of(build(), "base", "distinct_1")
    assert row.value == pytest.approx(plain.value)
    assert row.high - row.low != pytest.approx(plain.high - plain.low)
    assert "distinct_1 ↑ at n = 4 over clusters by category" in done("leaderboard", "show", path)
    assert "6 intervals" in done("leaderboard", "validate", path)
    # With and without clusters are other blocks; and where clusters contradict there is no rank.
    assert row.key == plain.key
    source = open_board(path)
    table = source.scores
    assert table is not None
    names = table.column_names
    model = table.column("model")[0].as_py()
    moved = [{**r, "cluster": "other"} if r["model"] == model else r for r in table.to_pylist()]
    torn = replace(source, scores=type(table).from_pylist(moved, schema=table.schema))
    merged = merge([torn]).board
    assert {r.unranked for r in merged.rows if r.cluster} == {CLUSTERS}
    assert names[-1] == "cluster"


def test_a_forged_cluster_is_refused(build: Callable[..., Path], tmp_path: Path) -> None:
    path = build("--cluster", "category", name="clustered")
    source = open_board(path)
    board = replace(
        source.board, rows=tuple(replace(row, cluster=None) for row in source.board.rows)
    )
    with pytest.raises(DataError, match="per-prompt rows have clusters"):
        validate(replace(source, board=board))
    save_board(tmp_path / "again.json", merge([source]))
    assert open_board(tmp_path / "again.json").board.rows == source.board.rows


def test_a_fixed_number_of_responses_is_what_a_block_ranks_at(build: Callable[..., Path]) -> None:
    assert row_of(build(), "base", "distinct_1").responses == 4
    # What was never scored at 3 keeps its number.
    assert row_of(build("--responses", "3", name="three"), "base", "distinct_1").responses == 4


def test_who_beats_whom_is_on_the_board(build: Callable[..., Path]) -> None:
    path = build()
    base, poor = (row_of(path, name, "distinct_1") for name in ("base", "poor"))
    assert (base.beats, poor.beats) == (1.0, 0.0)  # `long` is held against neither
    # 24 of 24 won is no certainty, and nothing is beyond 0 and 1.
    assert 0.8 < base.beats_low < base.beats_high == 1.0
    assert 0.0 == poor.beats_low < poor.beats_high < 0.2
    assert row_of(path, "long", "distinct_1").beats is None
    reseal(path, lambda c: [r.update(beats=0.5) for r in c["rows"] if r["beats"] is not None])
    assert ".beats: expected " in refused("leaderboard", "validate", path)
