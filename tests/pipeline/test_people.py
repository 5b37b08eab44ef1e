"""Answers of people beside the models of a run."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.analysis.people import people_lines
from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError
from tofu_eval.leaderboard import read_leaderboard
from tofu_eval.report import draw, read
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
TEVET = SHARED / "tevet" / "con_test_200_with_hds_resp_gen.csv"
METRICS = ["distinct_1", "mean_length", "unique_rate"]


def make_task(human: int = 3) -> te.Task:
    prompts = [
        te.Prompt(
            f"p{i}",
            (te.Message("user", f"Name fruit number {i}."),),
            human=tuple(f"{word} {i}" for word in ("an apple", "a ripe pear", "fig")[:human]),
        )
        for i in range(6)
    ]
    return te.Task("fruit", 1, lambda: prompts, sampling=te.Sampling(samples=3, max_tokens=8))


def run(output: Path, task: te.Task | None = None, **options: Any) -> te.Result:
    models = {"base": FakeEngine(), "sft": FakeEngine(3)}
    return te.evaluate(models, task or make_task(), output, metrics=METRICS, **options)


def test_people_are_a_model_that_nobody_ranks(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    manifest = Run.open(tmp_path / "run").manifest
    assert list(manifest["models"]) == ["base", "sft", "human"]
    assert manifest["models"]["human"]["people"] is True
    rows = Run.open(tmp_path / "run").responses("human", "fruit").to_pylist()
    assert [r["text"] for r in rows[:3]] == ["an apple 0", "a ripe pear 0", "fig 0"]
    assert "human" in result.scores.column("model").to_pylist()
    assert verify(tmp_path / "run").problems == ()
    compared = te.compare(result)
    assert "human" not in str(compared)
    board = read_leaderboard(tmp_path / "run" / "leaderboard.json")
    assert [model.name for model in board.models] == ["base", "sft"]
    before = sorted((tmp_path / "run" / "responses").rglob("*.parquet"))
    run(tmp_path / "run")
    assert sorted((tmp_path / "run" / "responses").rglob("*.parquet")) == before


def test_where_somebody_asks_people_are_the_baseline(tmp_path: Path) -> None:
    compared = te.compare(run(tmp_path / "run"), baseline="human")
    assert "human" in str(compared)
    assert {verdict.model for verdict in compared.verdicts} == {"base", "sft"}


def test_the_line_is_the_mean_over_the_prompts_that_people_answered(tmp_path: Path) -> None:
    run(tmp_path / "run")
    opened = Run.open(tmp_path / "run")
    lines = people_lines(opened.scores(), opened.manifest)
    line = lines["fruit", "mean_length"]
    assert line.prompts == 6
    assert line.by_prompt["p0"] == pytest.approx((3 + 4 + 2) / 3)  # words of each answer
    assert line.value == pytest.approx(sum(line.by_prompt.values()) / 6)
    assert line.low is not None
    assert line.low <= line.value <= (line.high or 0)


def test_unequal_numbers_have_no_line_but_where_the_models_are_taken_at_that(
    tmp_path: Path,
) -> None:
    run(tmp_path / "two", make_task(2))
    opened = Run.open(tmp_path / "two")
    lines = people_lines(opened.scores(), opened.manifest)
    assert lines["fruit", "distinct_1"].value is None
    assert lines["fruit", "distinct_1"].reason.startswith(
        "people gave 2 responses a prompt, the models 3"
    )
    assert lines["fruit", "mean_length"].value is not None  # does not move with the number
    notes = read(opened, responses=False).notes
    assert any(n.startswith("No line of people on fruit for distinct_1") for n in notes)
    equal = people_lines(
        opened.scores(), opened.manifest, smaller=opened.equal_scores(), responses=2
    )
    assert equal["fruit", "distinct_1"].value is not None


def test_report_and_plots_draw_the_line(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    run(tmp_path / "run")
    contents = read(Run.open(tmp_path / "run"), responses=False)
    assert "human" not in contents.models
    assert contents.people["fruit"]["distinct_1"]["human"] is not None
    records = contents.datasets["estimates"]
    lines = people_lines(Run.open(tmp_path / "run").scores(), contents.manifest)
    for record in records:
        assert record["human"] == lines["fruit", record["metric"]].value
    for plot in ("means", "prompts"):
        svg = draw(contents, plot, format="svg", metric="distinct_1").decode()
        assert "NaN" not in svg
        contents_without = replace(contents, people={})
        assert svg.count("<path") > draw(
            contents_without, plot, format="svg", metric="distinct_1"
        ).decode().count("<path")


def test_a_file_of_answers_is_matched_to_the_prompts(tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    rows = [
        {"id": "p0", "prompt": "Name fruit number 0.", "responses": ["plum", "lime", "date"]},
        {"id": "p1", "prompt": "Name fruit number 1.", "responses": ["kiwi", "kiwi"]},
        {"id": "px", "prompt": "Name a river.", "responses": ["Po"]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run(tmp_path / "run", make_task(0), human=file)
    found = Run.open(tmp_path / "run").responses("human", "fruit").to_pylist()
    assert [(r["prompt_id"], r["text"]) for r in found] == [
        *(("p0", text) for text in ("plum", "lime", "date")),
        *(("p1", "kiwi") for _ in range(2)),
    ]
    assert any("people answered 2 of 6 prompts of fruit" in note for note in result.notes)
    file.write_text(json.dumps(rows[2]) + "\n")
    with pytest.raises(ConfigError, match="none of its prompts is one of fruit"):
        run(tmp_path / "other", make_task(0), human=file)


def test_a_model_may_not_be_called_as_people_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A model is called 'human'"):
        te.evaluate({"human": FakeEngine()}, make_task(), tmp_path / "run", metrics=METRICS)


def test_score_takes_people_too(tmp_path: Path) -> None:
    for name, texts in (("m", ["a b", "a c"]), ("people", ["d e", "f g"])):
        row = {"id": "1", "prompt": "Say.", "responses": texts}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    args = ["score", f"m={tmp_path / 'm.jsonl'}", "--human", str(tmp_path / "people.jsonl")]
    done = CliRunner().invoke(
        main, [*args, "--metric", "distinct_1", "--output", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    models = Run.open(tmp_path / "run").manifest["models"]
    assert list(models) == ["m", "human"]
    assert models["human"]["people"] is True


@pytest.mark.skipif(not TEVET.is_file(), reason=f"no {TEVET}: set TOFU_EVAL_SHARED_DATA")
def test_people_of_a_human_set(tmp_path: Path) -> None:
    """Half of each set's responses stand for people, half for a model."""
    file = TEVET
    with file.open(newline="", encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))[:20]
    texts = [[row[f"resp_{i}"] for i in range(4)] for row in table]
    for name, part in (("model", slice(0, 2)), ("people", slice(2, 4))):
        rows = [
            {"id": str(i), "prompt": row["context"], "responses": texts[i][part]}
            for i, row in enumerate(table)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    te.score_files(
        [("model", tmp_path / "model.jsonl")],
        tmp_path / "run",
        human=tmp_path / "people.jsonl",
        metrics=["distinct_1"],
    )
    opened = Run.open(tmp_path / "run")
    (line,) = people_lines(opened.scores(), opened.manifest).values()
    assert line.prompts == 20
    assert line.value is not None
    assert 0 < line.value <= 1
