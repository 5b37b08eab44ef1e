"""A sweep of temperatures: the same model under several names in one run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, StoreError
from tofu_eval.core.types import Request, Response
from tofu_eval.features.settings import read_settings
from tofu_eval.leaderboard import read_leaderboard
from tofu_eval.pipeline.temperatures import name_at, variants_of
from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify

SWEEP = (0.5, 1.0)
NAMES = ["base-T0.5", "base-T1", "sft-T0.5", "sft-T1"]


class Noting(FakeEngine):
    """Notes what each call asked for."""

    def __init__(self, words: int = 10, **options: Any) -> None:
        super().__init__(words, **options)
        self.calls: list[list[tuple[str, float]]] = []

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        self.calls.append([(r.model, r.sampling.temperature) for r in requests])
        yield from super().generate(requests, done)


def make_task(**changes: Any) -> te.Task:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit number {i}.") for i in range(5)]
    fields: dict[str, Any] = {"sampling": te.Sampling(samples=3, max_tokens=8)}
    return te.Task("fruit", 1, lambda: prompts, **(fields | changes))


def evaluate(output: Path, **changes: Any) -> te.Result:
    arguments: dict[str, Any] = {
        "models": {"base": FakeEngine(), "sft": FakeEngine(3)},
        "tasks": [make_task()],
        "metrics": ["distinct_1", "unique_rate"],
    }
    return te.evaluate(**(arguments | changes), output=output)


def rows(path: Path, model: str) -> list[tuple[str, str, int, str, int]]:
    run = Run.open(path)
    found = [
        row
        for task in run.manifest["tasks"]
        for part in run.response_parts(model, task)
        for row in read(part)
    ]
    return sorted((r["key"], r["prompt_id"], r["sample"], r["text"], r["seed"]) for r in found)


def read(part: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(part).to_pylist()
    assert {row["model"] for row in table} == {part.parents[1].name}
    return table


def test_each_model_is_asked_once_for_all_temperatures(tmp_path: Path) -> None:
    base, sft = Noting(), Noting(3)
    evaluate(tmp_path / "run", models={"base": base, "sft": sft}, temperature=SWEEP)
    for engine, name in ((base, "base"), (sft, "sft")):
        (call,) = engine.calls  # one loading serves all its temperatures
        assert set(call) == {(name, 0.5), (name, 1.0)}
        assert len(call) == 2 * 5 * 3


def test_run_json_says_series_and_temperature(tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run", temperature=list(SWEEP))
    manifest = Run.open(tmp_path / "run").manifest
    assert list(manifest["models"]) == NAMES
    described = manifest["models"]["sft-T0.5"]
    assert (described["series"], described["temperature"]) == ("sft", 0.5)
    assert manifest["tasks"]["fruit"]["sampling"]["temperature"] == 1.0  # the task's own
    assert result.scores.column("model").unique().to_pylist() == NAMES
    board = read_leaderboard(tmp_path / "run" / "leaderboard.json")
    assert [model.name for model in board.models] == NAMES
    assert verify(tmp_path / "run").problems == ()


def test_a_variant_has_the_rows_of_a_run_at_its_temperature(tmp_path: Path) -> None:
    evaluate(tmp_path / "sweep", temperature=SWEEP)
    evaluate(tmp_path / "alone", temperature=0.5)
    assert rows(tmp_path / "sweep", "sft-T0.5") == rows(tmp_path / "alone", "sft")
    assert rows(tmp_path / "sweep", "sft-T1") != rows(tmp_path / "alone", "sft")


def test_a_single_temperature_stays_as_it_was(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", temperature=0.5)
    manifest = Run.open(tmp_path / "run").manifest
    assert list(manifest["models"]) == ["base", "sft"]
    assert "temperature" not in manifest["models"]["sft"]
    assert manifest["tasks"]["fruit"]["sampling"]["temperature"] == 0.5


def test_an_interrupted_sweep_goes_on_and_equals_an_undisturbed_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            tmp_path / "run",
            models={"base": FakeEngine(), "sft": FakeEngine(3, fail_after=3)},
            temperature=SWEEP,
        )
    assert verify(tmp_path / "run").responses == 2 * 15 + 12
    evaluate(tmp_path / "run", temperature=SWEEP)
    evaluate(tmp_path / "whole", temperature=SWEEP)
    for name in NAMES:
        assert rows(tmp_path / "run", name) == rows(tmp_path / "whole", name)
    assert verify(tmp_path / "run").problems == ()


def test_temperatures_and_plain_models_may_be_added(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", temperature=(0.5,))
    before = rows(tmp_path / "run", "sft-T0.5")
    engine = FakeEngine(3)
    evaluate(tmp_path / "run", models={"sft": engine}, temperature=(1.3, 0.5))
    assert len(engine.made) == 15 + 1  # a batch of 4 holds one row of 0.5 too, which stays
    assert rows(tmp_path / "run", "sft-T0.5") == before
    evaluate(tmp_path / "run", models={"sft": FakeEngine(3)})
    names = ["base-T0.5", "sft-T0.5", "sft-T1.3", "sft"]
    assert list(Run.open(tmp_path / "run").manifest["models"]) == names
    assert verify(tmp_path / "run").problems == ()


def test_a_name_that_another_model_has_already(tmp_path: Path) -> None:
    evaluate(tmp_path / "run", models={"sft-T0.5": FakeEngine(3)})
    with pytest.raises(StoreError, match=r"model 'sft-T0.5' has temperature=null, you asked for 0"):
        evaluate(tmp_path / "run", models={"sft": FakeEngine(3)}, temperature=SWEEP)
    evaluate(tmp_path / "other", models={"sft": FakeEngine(3)}, temperature=SWEEP)
    with pytest.raises(StoreError, match=r"'sft-T0.5' has temperature=0.5, you asked for null"):
        evaluate(tmp_path / "other", models={"sft-T0.5": FakeEngine(3)})


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        ((0, 0.7), "temperature 0 is greedy: all 3 samples would be the same text"),
        ((0.7, 0.70), "temperature 0.7 stands twice in the sweep. Drop one."),
        ((), "temperature is an empty list. Give at least one, such as 0.7,1.0,1.3."),
        ((0.7, -1), "temperature should be greater than or equal to 0, got -1."),
        ((0.7, "hot"), "temperature should be a number, got 'hot'."),
        ((0.7, True), "temperature should be a number, got True."),
        (float("nan"), "temperature should be a finite number, got nan."),
    ],
)
def test_bad_temperatures_make_no_run(temperature: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(tmp_path / "run", temperature=temperature)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_greedy_with_one_sample_may_be_in_a_sweep(tmp_path: Path) -> None:
    result = evaluate(tmp_path / "run", temperature=(0, 0.7), samples=1)
    assert "base-T0" in result.scores.column("model").to_pylist()


def test_a_greedy_task_may_be_swept_with_several_samples(tmp_path: Path) -> None:
    task = make_task(sampling=te.Sampling(samples=1, temperature=0.0, max_tokens=8))
    evaluate(tmp_path / "run", tasks=[task], temperature=SWEEP, samples=4)
    assert len(rows(tmp_path / "run", "sft-T0.5")) == 5 * 4


def test_names() -> None:
    assert [name_at("sft", t) for t in (0.7, 1, 1.25, 0.123456789)] == [
        "sft-T0.7",
        "sft-T1",
        "sft-T1.25",
        "sft-T0.123456789",
    ]
    with pytest.raises(ConfigError, match="Invalid model name 'aaa"):
        variants_of(["a" * 98], (0.5,))


def test_what_is_a_sweep() -> None:
    assert read_settings({"temperature": 0.7}).sweep is None
    assert read_settings({}).sweep is None
    assert read_settings({"temperature": [0.7]}).sweep == (0.7,)
    assert read_settings({"temperature": [0.7, 1]}).sampling() == {}
    assert read_settings({"temperature": 0}).sampling() == {"temperature": 0}
