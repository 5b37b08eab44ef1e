"""A grid of trainings that ends in one board, and goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.tables import ESTIMATE_SCHEMA, SCORE_SCHEMA, to_table
from tofu_eval.core.types import Estimate, ModelSpec
from tofu_eval.pipeline.evaluate import Result
from tofu_eval.training.sweep import grid, summarise_seeds, sweep

FIELDS = {
    "format": "base", "max_steps": 2, "per_device_train_batch_size": 4,
    "gradient_checkpointing": False, "learning_rate": 1e-3, "save_strategy": "no",
}  # fmt: skip
RUN = {"limit": 3, "samples": 3, "max_tokens": 4, "metrics": ["distinct_1", "self_bleu"]}


@pytest.fixture
def fields(base: Path, rows: Path) -> dict[str, Any]:
    return {**FIELDS, "model": str(base), "data": str(rows)}


def test_settings_go_to_the_losses_that_have_them(fields, tmp_path):
    fields = {**fields, "loss_settings": {"gamma": 2.0, "beta": 0.9}}
    made = grid(fields, ["ce", "focal", "gem", "tofu"], [0, 7], tmp_path)
    assert [t.name for t in made][:3] == ["ce-seed0", "ce-seed7", "focal-seed0"]
    given = {t.loss: t.settings.loss_settings for t in made}
    assert given == {
        "ce": {}, "focal": {"gamma": 2.0}, "gem": {"beta": 0.9},
        "tofu": {"gamma": 2.0, "beta": 0.9},
    }  # fmt: skip
    assert {t.settings.sft["seed"] for t in made} == {0, 7}
    assert len({t.settings.output for t in made}) == 8


@pytest.mark.parametrize(
    ("losses", "seeds", "more", "error", "message"),
    [
        ([], [0], {}, ConfigError, "A sweep needs a loss and a seed"),
        (["ce"], [], {}, ConfigError, "A sweep needs a loss and a seed"),
        (["ce", "ce"], [0], {}, ConfigError, "The loss 'ce' is named twice"),
        (["toffu"], [0], {}, UnknownNameError, "Unknown loss 'toffu'"),
        (
            ["ce"],
            [0],
            {"loss_settings": {"beta": 1}},
            ConfigError,
            "None of ce has a setting",
        ),
    ],
)
def test_bad_grids(losses, seeds, more, error, message, fields, tmp_path):
    with pytest.raises(error, match=message):
        grid({**fields, **more}, losses, seeds, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["full", "lora"])
def test_one_board_and_again(lora, fields, tmp_path):
    trainings = grid({**fields, "lora": lora}, ["ce", "tofu"], [0, 1], tmp_path)
    result = sweep(trainings, ["open-prompts"], tmp_path, jobs=2, **RUN)
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    models = [model["name"] for model in board["models"]]
    assert models == ["base", "ce-seed0", "ce-seed1", "tofu-seed0", "tofu-seed1"]
    used = json.loads((tmp_path / "run" / "run.json").read_text())["models"]
    assert {m["prompt_format"]["open-prompts"] for m in used.values()} == {"base"}
    told = [(m.get("series"), m.get("seed")) for m in used.values()]
    assert told == [(None, None), ("ce", 0), ("ce", 1), ("tofu", 0), ("tofu", 1)]
    if lora:
        assert all("adapter" in used[t.name]["identity"] for t in trainings)

    spread = {(row.loss, row.metric): row for row in summarise_seeds(result, trainings)}
    estimates = {(e["model"], e["metric"]): e["value"] for e in result.estimates.to_pylist()}
    pair = [estimates[f"tofu-seed{i}", "distinct_1"] for i in (0, 1)]
    row = spread["tofu", "distinct_1"]
    assert (row.mean, row.low, row.high) == (pytest.approx(sum(pair) / 2), min(pair), max(pair))

    files = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.safetensors")}
    told = []
    again = sweep(trainings, ["open-prompts"], tmp_path, report=lambda *m: told.append(m[0]), **RUN)
    assert again.estimates.equals(result.estimates)
    assert not any(stage.startswith("train") for stage in told)
    assert {f: f.stat().st_mtime_ns for f in files} == files
    wider = grid({**fields, "lora": lora}, ["ce", "tofu", "gem"], [0, 1], tmp_path)
    more = sweep(wider, ["open-prompts"], tmp_path, **RUN)
    assert len(set(more.estimates.column("model").to_pylist())) == 7


def test_the_run_is_checked_before_anything_is_trained(fields, tmp_path):
    trainings = grid(fields, ["ce"], [0], tmp_path)
    with pytest.raises(UnknownNameError, match="Unknown task 'open-promts'"):
        sweep(trainings, ["open-promts"], tmp_path, **RUN)
    with pytest.raises(UnknownNameError, match="Unknown metric 'distinct_11'"):
        sweep(trainings, ["open-prompts"], tmp_path, **{**RUN, "metrics": ["distinct_11"]})
    with pytest.raises(ConfigError, match="temperature 0 is greedy"):
        sweep(trainings, ["open-prompts"], tmp_path, **{**RUN, "temperature": (0, 1), "samples": 2})
    assert list(tmp_path.iterdir()) == []


def test_seeds_are_put_together_at_each_temperature(fields, tmp_path):
    trainings = grid(fields, ["ce"], [0, 1], tmp_path)
    values = {"base-T0.5": 3.0, "ce-seed0-T0.5": 1.0, "ce-seed1-T0.5": 2.0,
              "ce-seed0-T1": 4.0, "ce-seed1-T1": 6.0, "ce-seed0": 99.0}  # fmt: skip
    estimates = [
        Estimate(model, "open-prompts", "vendi", value, None, None, 1, 0, "", "")
        for model, value in values.items()
    ]
    result = Result(to_table([], SCORE_SCHEMA), to_table(estimates, ESTIMATE_SCHEMA))
    found = {row.loss: row.mean for row in summarise_seeds(result, trainings, (0.5, 1.0))}
    assert found == {"base-T0.5": 3.0, "ce-T0.5": 1.5, "ce-T1": 5.0}


def test_an_adapter_goes_onto_its_base(fields, tmp_path):
    from tofu_eval.training.sweep import find_model

    full, adapter = (
        grid({**fields, "lora": lora}, ["ce"], [0], tmp_path)[0] for lora in (None, {"r": 2})
    )
    path = str(tmp_path / "checkpoints" / "ce-seed0")
    told = {"series": "ce", "seed": 0}
    assert find_model(full) == ModelSpec("ce-seed0", path, **told)
    assert find_model(adapter) == ModelSpec("ce-seed0", fields["model"], None, path, **told)
