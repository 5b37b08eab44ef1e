"""The way of the data, from prompts to the leaderboard, with an engine that needs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.errors import (
    ConfigError,
    ModelError,
    PluginError,
    StoreError,
    TofuEvalError,
    UnknownNameError,
)
from tofu_eval.core.types import Request, Response
from tofu_eval.leaderboard import read_leaderboard
from tofu_eval.leaderboard.ranks import FEW_PROMPTS
from tofu_eval.pipeline import evaluate as pipeline
from tofu_eval.run.store import Run

METRICS = ["distinct_1", "self_bleu", "unique_rate", "mean_length"]


def make_task(name: str = "fruit", count: int = 5, **changes: Any) -> te.Task:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit number {i}.") for i in range(count)]
    fields: dict[str, Any] = {
        "version": 1,
        "load": lambda: prompts,
        "sampling": te.Sampling(samples=3, max_tokens=8),
    }
    return te.Task(name, **(fields | changes))


def evaluate(output: Path, **changes: Any) -> te.Result:
    arguments: dict[str, Any] = {
        "models": {"base": FakeEngine(), "sft": FakeEngine(3)},
        "tasks": [make_task()],
        "metrics": METRICS,
    }
    return te.evaluate(**(arguments | changes), output=output)


def test_tables_estimates_and_leaderboard(tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run")
    assert result.scores.num_rows == 2 * 5 * len(METRICS)
    assert result.estimates.num_rows == 2 * len(METRICS)
    rows = {(r["model"], r["metric"]): r for r in result.to_arrow().to_pylist()}
    for (model, metric), row in rows.items():
        values = [
            r["value"]
            for r in result.scores.to_pylist()
            if (r["model"], r["metric"]) == (model, metric)
        ]
        assert row["value"] == pytest.approx(sum(values) / 5)
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] == 5
        assert row["signature"].startswith(f"{metric}|v:1")
    # Three words instead of ten: the narrower model is narrower.
    assert rows["sft", "distinct_1"]["value"] < rows["base", "distinct_1"]["value"]
    assert rows["sft", "self_bleu"]["value"] > rows["base", "self_bleu"]["value"]
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text("utf-8"))
    names = {model["id"]: model["name"] for model in board["models"]}
    assert {(names[r["model"]], r["metric"]): r["value"] for r in board["rows"]} == {
        place: row["value"] for place, row in rows.items()
    }
    assert len(result.to_pandas()) == result.estimates.num_rows


def test_run_json_says_what_was_run(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", seed=3)
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest["status"] == "complete"
    assert manifest["settings"]["seed"] == 3
    assert manifest["models"]["sft"] == {
        "identity": {"kind": "fake", "words": 3},
        "engine": "fake",
        "prompt_format": {"fruit": "base"},
    }
    assert manifest["tasks"]["fruit"]["sampling"]["samples"] == 3
    assert manifest["versions"]["pyarrow"]
    assert set(manifest["timings"]) >= {"generate base", "score", "estimate"}


def test_run_json_says_where_its_numbers_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"system": "Linux", "processor": "x86_64", "cores": 8, "accelerators": ["H100"]}
    monkeypatch.setattr("tofu_eval.run.provenance.machine", lambda: there)
    evaluate(tmp_path / "run")
    first = Run.open(tmp_path / "run").manifest
    assert len(first["id"]) == 16
    assert first["machines"] == [there]
    # 5 prompts, 3 samples, 6 tokens each.
    assert first["tokens"] == {"base": {"fruit": 90}, "sft": {"fruit": 90}}
    assert first["tasks"]["fruit"]["package"] is None
    assert first["metrics"]["distinct_1"]["package"]["name"] == "tofu-eval"
    monkeypatch.setattr("tofu_eval.run.provenance.machine", lambda: {**there, "cores": 2})
    evaluate(tmp_path / "run")  # elsewhere, with nothing left to do
    second = Run.open(tmp_path / "run").manifest
    assert second["id"] == first["id"]
    assert [machine["cores"] for machine in second["machines"]] == [8, 2]
    assert second["tokens"] == first["tokens"]
    board = read_leaderboard(tmp_path / "run" / "leaderboard.json")
    (run,) = board.runs
    assert (run.id, list(run.machines)) == (second["id"], second["machines"])
    cells = {board.model_by_id[cell.model].name: cell for cell in run.cells}
    assert (cells["base"].prompt_format, cells["base"].tokens) == ("base", 90)


def test_the_board_of_a_run_is_ranked(tmp_path: Path) -> None:
    evaluate(tmp_path / "run")
    rows = read_leaderboard(tmp_path / "run" / "leaderboard.json").rows
    told = {(row.rank, row.unranked) for row in rows if row.metric == "distinct_1"}
    assert told == {(None, FEW_PROMPTS)}  # of five prompts, no sign-flip p-value is below 2/32


def test_a_row_has_its_own_key_and_seed(tmp_path: Path) -> None:
    evaluate(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    rows = [r for m in ("base", "sft") for r in run.responses(m, "fruit").to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows) == 30
    assert len({row["seed"] for row in rows}) == 30
    assert [row["sample"] for row in rows[:6]] == [0, 1, 2, 0, 1, 2]


def test_the_seed_changes_the_rows_and_only_the_seed_does(tmp_path: Path) -> None:
    tables = {}
    for name, changes in {
        "a": {},
        "same": {},
        "other models": {"models": {"base": FakeEngine(batch_size=7)}},
        "other task too": {"tasks": [make_task(), make_task("second")]},
        "seed": {"seed": 1},
    }.items():
        evaluate(tmp_path / name, **changes)
        tables[name] = Run.open(tmp_path / name).responses("base", "fruit")
    for name in ("same", "other models", "other task too"):
        assert tables[name].equals(tables["a"])
    assert not tables["seed"].equals(tables["a"])


@pytest.mark.parametrize("batches", range(4))
def test_an_interrupted_run_goes_on_and_equals_an_undisturbed_one(
    tmp_path: Path, batches: int
) -> None:
    evaluate(tmp_path / "whole")
    broken = {"base": FakeEngine(fail_after=batches), "sft": FakeEngine(3)}
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "run", models=broken)
    assert Run.open(tmp_path / "run").manifest["status"] == "running"
    engine = FakeEngine()
    evaluate(tmp_path / "run", models={"base": engine, "sft": FakeEngine(3)})
    assert len(engine.made) == 15 - 4 * batches
    whole, run = (Run.open(tmp_path / name) for name in ("whole", "run"))
    assert run.scores().equals(whole.scores())
    assert run.estimates() == whole.estimates()
    for model in ("base", "sft"):
        assert run.responses(model, "fruit").equals(whole.responses(model, "fruit"))


def test_a_second_run_makes_nothing_again(tmp_path: Path) -> None:
    first = evaluate(tmp_path / "run")
    engines = {"base": FakeEngine(), "sft": FakeEngine(3)}
    second = evaluate(tmp_path / "run", models=engines)
    assert engines["base"].made == engines["sft"].made == []
    assert second.estimates.equals(first.estimates)


def test_only_what_changed_is_scored_again(tmp_path: Path) -> None:
    scored: list[int] = []

    def told(stage: str, done: int, total: int) -> None:
        if stage == "score" and done == total:
            scored.append(total)

    evaluate(tmp_path / "run", models={"base": FakeEngine()}, report=told)
    first = evaluate(tmp_path / "run", report=told)
    evaluate(tmp_path / "run", report=told)
    evaluate(tmp_path / "run", metrics=["unique_rate"], report=told)
    last = evaluate(tmp_path / "run", report=told)
    assert scored == [5, 5, 10, 10]
    assert last.estimates.equals(first.estimates)
    assert last.scores.equals(first.scores)


def test_scores_that_are_gone_are_made_again(tmp_path: Path) -> None:
    first = evaluate(tmp_path / "run")
    (lost,) = (tmp_path / "run" / "scores" / "sft" / "fruit").glob("part-000000-*.parquet")
    lost.unlink()
    assert evaluate(tmp_path / "run").scores.equals(first.scores)
    (tmp_path / "run" / "estimates.parquet").unlink()
    assert evaluate(tmp_path / "run").estimates.equals(first.estimates)


def test_models_and_tasks_may_be_added(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", models={"base": FakeEngine()})
    evaluate(tmp_path / "run", models={"sft": FakeEngine(3)}, tasks=[make_task()])
    result = evaluate(
        tmp_path / "run",
        models={"base": FakeEngine(), "sft": FakeEngine(3)},
        tasks=[make_task(), make_task("second")],
    )
    places = {(r["model"], r["task"]) for r in result.estimates.to_pylist()}
    assert places == {(m, t) for m in ("base", "sft") for t in ("fruit", "second")}


def test_a_call_with_fewer_tasks_keeps_the_others(tmp_path: Path) -> None:
    tasks = [make_task(), make_task("second")]
    whole = evaluate(tmp_path / "run", tasks=tasks)
    again = evaluate(tmp_path / "run", tasks=tasks[:1])
    places = ["model", "task", "metric"]
    assert again.estimates.sort_by([(p, "ascending") for p in places]).equals(
        whole.estimates.sort_by([(p, "ascending") for p in places])
    )
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text("utf-8"))
    names = {task["id"]: task["name"] for task in board["tasks"]}
    assert {names[row["task"]] for row in board["rows"]} == {"fruit", "second"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.7}, r"its task 'fruit' has temperature=1\.0, you asked for 0\.7"),
        ({"samples": 4}, r"its task 'fruit' has samples=3, you asked for 4"),
        ({"limit": 2}, r"its task 'fruit' has prompts=5, you asked for 2"),
        ({"seed": 1}, r"its run\.json has seed=0, you asked for 1"),
        ({"models": {"base": FakeEngine(5)}}, r"its model 'base' has words=10, you asked for 5"),
        ({"tasks": [make_task(version=2)]}, r"its task 'fruit' has version=1, you asked for 2"),
        ({"format": "sft"}, r"its prompt format of model 'base' has fruit=\"base\", you asked for"),
    ],
)
def test_another_configuration_is_refused_and_nothing_is_lost(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    before = evaluate(tmp_path / "run")
    with pytest.raises(StoreError, match=f"Cannot resume .*{message}"):
        evaluate(tmp_path / "run", **changes)
    assert evaluate(tmp_path / "run").estimates.equals(before.estimates)


def test_what_has_made_no_response_can_still_be_changed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "run", models={"base": FakeEngine(fail_after=0)})
    changed = {"samples": 2, "limit": 3, "seed": 5, "models": {"base": FakeEngine(3)}}
    evaluate(tmp_path / "run", **changed)
    evaluate(tmp_path / "new", **changed)
    run, new = (Run.open(tmp_path / name) for name in ("run", "new"))
    assert run.responses("base", "fruit").equals(new.responses("base", "fruit"))
    assert run.estimates() == new.estimates()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": {}}, ConfigError, "No models. Name at least one"),
        ({"tasks": []}, ConfigError, "No tasks. Name at least one"),
        ({"tasks": [make_task(), make_task()]}, ConfigError, "'fruit' is asked for twice"),
        ({"tasks": ["opne-prompts"]}, UnknownNameError, "Did you mean 'open-prompts'"),
        ({"metrics": ["self_blue"]}, UnknownNameError, "Did you mean 'self_bleu'"),
        ({"models": {"a/b": FakeEngine()}}, ConfigError, "Invalid model name 'a/b'"),
        ({"samples": 0}, ConfigError, "samples should be greater than or equal to 1, got 0"),
        ({"sample": 3}, ConfigError, "unknown setting 'sample'. Did you mean 'samples'"),
        ({"metrics": ["reward"]}, ConfigError, "needs a model that you name: --reward-model MODEL"),
        ({"format": {"tuned": "chat"}}, UnknownNameError, "Unknown model 'tuned'"),
        ({"temperature": 0.0}, ConfigError, "temperature 0 is greedy: all 3 samples"),
        ({"tasks": [make_task(count=0)]}, ConfigError, "Task 'fruit' has no prompts"),
    ],
)
def test_bad_arguments_make_no_run(
    tmp_path: Path, changes: dict[str, Any], error: type[TofuEvalError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_one_sample_is_null_with_a_reason(tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run", samples=1)
    rows = {r["metric"]: r for r in result.estimates.to_pylist()}
    assert (rows["self_bleu"]["value"], rows["self_bleu"]["undefined"]) == (None, 5)
    assert rows["mean_length"]["value"] == 6
    reasons = {r["reason"] for r in result.scores.to_pylist() if r["metric"] == "self_bleu"}
    assert len(reasons) == 1
    assert "two" in reasons.pop()


def test_scoring_groups_in_memory() -> None:
    groups = [
        te.Group(te.Prompt.of_text("p", "Name a fruit."), ("apple", "apple", "pear"), model="m"),
        te.Group(te.Prompt.of_text("q", "Name a tree."), ("oak", "elm", "ash"), model="m"),
    ]
    result = te.score(groups, metrics=["unique_rate", "distinct_1"])
    values = {(r["prompt_id"], r["metric"]): r["value"] for r in result.scores.to_pylist()}
    assert values["p", "unique_rate"] == pytest.approx(2 / 3)
    assert values["q", "distinct_1"] == 1
    assert isinstance(result.to_arrow(), pa.Table)
    assert result.path is None


def test_a_feature_that_a_group_brings_is_used() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0]]
    group = te.Group(te.Prompt.of_text("p", "P"), ("a", "b"), features={"embedding": vectors})
    result = te.score([group], metrics=["vendi"])
    assert result.scores.to_pylist()[0]["value"] == pytest.approx(2)


def test_a_model_that_lacks_responses_is_left_out_and_named(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", models={"base": FakeEngine()})
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "run", models={"sft": FakeEngine(3, fail_after=2)})
    result = evaluate(tmp_path / "run", models={"base": FakeEngine()})
    assert set(result.estimates.column("model").to_pylist()) == {"base"}
    (note,) = result.notes
    assert note.startswith("sft has 8 of 15 responses to fruit and is left out there")
    evaluate(tmp_path / "run")
    evaluate(tmp_path / "whole")
    assert Run.open(tmp_path / "run").estimates() == Run.open(tmp_path / "whole").estimates()
    # And once more with some of them gone.
    next((tmp_path / "run" / "responses" / "sft").rglob("part-*")).unlink()
    result = evaluate(tmp_path / "run", models={"base": FakeEngine()})
    assert set(result.scores.column("model").to_pylist()) == {"base"}


def test_estimates_that_are_gone_are_named_where_they_are_not_made_again(tmp_path: Path) -> None:
    tasks = [make_task(), make_task("second")]
    first = evaluate(tmp_path / "run", tasks=tasks)
    (tmp_path / "run" / "estimates.parquet").unlink()
    assert evaluate(tmp_path / "run", tasks=tasks[:1]).notes == (
        "second has scores without estimates; make them again with --task second",
    )
    again = evaluate(tmp_path / "run", tasks=tasks)
    assert again.estimates.equals(first.estimates)
    assert again.notes == ()


def test_prompts_that_are_gone_are_written_again(tmp_path: Path) -> None:
    first = evaluate(tmp_path / "run")
    (tmp_path / "run" / "prompts" / "fruit.parquet").unlink()
    assert evaluate(tmp_path / "run").estimates.equals(first.estimates)


def test_estimates_of_another_run_are_dropped(tmp_path: Path) -> None:
    evaluate(tmp_path / "other", models={"stranger": FakeEngine()})
    first = evaluate(tmp_path / "run")
    stray = (tmp_path / "other" / "estimates.parquet").read_bytes()
    (tmp_path / "run" / "estimates.parquet").write_bytes(stray)
    assert evaluate(tmp_path / "run").estimates.equals(first.estimates)


def test_any_order_of_adding_gives_the_same_numbers(tmp_path: Path) -> None:
    tasks = [make_task(), make_task("second")]
    whole = evaluate(tmp_path / "whole", tasks=tasks)
    evaluate(tmp_path / "run", models={"sft": FakeEngine(3)}, tasks=tasks[1:])
    evaluate(tmp_path / "run", models={"base": FakeEngine()}, tasks=tasks[:1])
    result = evaluate(tmp_path / "run", tasks=tasks)
    order = [(name, "ascending") for name in ("model", "task", "metric")]
    assert result.estimates.sort_by(order).equals(whole.estimates.sort_by(order))


def test_a_metric_that_fails_is_named(tmp_path: Path) -> None:
    @te.metric(
        name="broken_here", level="group", direction="none", range=("0", "1"), cost="cpu",
        needs=("text",), paper="",
    )  # fmt: skip
    def broken_here(texts: Sequence[str]) -> float:
        """Fails."""
        return len(texts) / 0

    with pytest.raises(PluginError, match=r"The metric 'broken_here' failed on prompt 'p0' of"):
        evaluate(tmp_path / "run", metrics=["broken_here"])


def test_an_engine_that_fails_is_named(tmp_path: Path) -> None:
    class Failing(FakeEngine):
        def _response(self, request: Request) -> Response:
            raise RuntimeError("no more")

    with pytest.raises(ModelError, match=r"The engine 'fake' failed on 'base': RuntimeError: no"):
        evaluate(tmp_path / "run", models={"base": Failing()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": "apple"}, "must be a tuple of strings, got 'apple'"),
        ({"texts": ("a", None)}, "must be a tuple of strings"),
        ({"features": {"embedding": [[1.0]]}}, "'embedding' of prompt 'p' has 1 rows for 2 texts"),
    ],
)
def test_bad_groups(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        te.Group(**({"prompt": te.Prompt.of_text("p", "P"), "texts": ("a", "b")} | changes))


def test_bad_arguments_of_score() -> None:
    group = te.Group(te.Prompt.of_text("p", "P"), ("a", "b"))
    with pytest.raises(ConfigError, match="2 groups are of prompt 'p'"):
        te.score([group, group], metrics=["unique_rate"])
    with pytest.raises(ConfigError, match="'samples' has no meaning where nothing is generated"):
        te.score([group], samples=3)
    other = te.Group(te.Prompt.of_text("q", "Q"), ("a",), features={"embedding": [[1.0]]})
    with pytest.raises(ConfigError, match="prompt 'p' lacks the feature 'embedding'"):
        te.score([group, other], metrics=["vendi"])
    assert te.score(group, metrics=["unique_rate"]).scores.num_rows == 1


def test_prompts_with_one_id_are_refused(tmp_path: Path) -> None:
    twins = [te.Prompt.of_text("p", "A"), te.Prompt.of_text("p", "B")]
    with pytest.raises(ConfigError, match="Task 'fruit' has 2 prompts called 'p'"):
        evaluate(tmp_path / "run", tasks=[make_task(load=lambda: twins)])


def test_files_of_responses_may_be_added_in_any_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_text('{"id": "p", "responses": ["x", "y"]}\n{"id": "q", "responses": ["x", "x"]}')
    b.write_text('{"id": "q", "responses": ["z", "y"]}\n{"id": "r", "responses": ["x", "y"]}')
    score = partial(pipeline.score_files, metrics=["unique_rate"])
    whole = score([(None, a), (None, b)], tmp_path / "whole")
    score([(None, b)], tmp_path / "run")
    result = score([(None, a)], tmp_path / "run")
    order = [(name, "ascending") for name in ("model", "prompt_id")]
    assert result.scores.sort_by(order).equals(whole.scores.sort_by(order))
    a.write_text('{"id": "p", "prompt": "another", "responses": ["x", "y"]}')
    with pytest.raises(StoreError, match="its prompt 'p' has another text there"):
        score([("c", a)], tmp_path / "run")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(tmp_path / "run", report=lambda *step: told.append(step))
    stages = {stage for stage, _, _ in told}
    assert stages >= {"generate base", "generate sft", "score"}
    for stage in stages:
        done = [(d, t) for s, d, t in told if s == stage]
        assert done[-1][0] == done[-1][1]
