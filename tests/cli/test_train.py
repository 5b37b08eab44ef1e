"""`tofu-eval train` and `sweep` on the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tofu_eval.cli import main


def run(*arguments: str):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def common(base, rows):
    return ("--model", base, "--data", rows, "--format", "base", "--batch-size", 8)


def test_flags_win_over_files_and_reach_trl(common, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "loss: focal\nloss_settings: {gamma: 1.0}\nlogging_steps: 1\nlora: {lora_alpha: 3}\n"
        "max_steps: 2\nlearning_rate: 5e-4\ngradient_checkpointing: false\n"
    )
    out = tmp_path / "out"
    done = run(
        "train", *common, "--config", config, "--loss", "tofu", "--gamma", 2, "--lora-r", 2,
        "--lr", "1e-3", "--seed", 4, "--packing", "--max-length", 48, "--output", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "mean_token_accuracy" in done.stdout
    assert f"2 steps. Checkpoint: {out}" in done.stdout
    asked = json.loads((out / "training.json").read_text())["asked"]
    assert (asked["loss"], asked["loss_settings"]) == ("tofu", {"gamma": 2.0})
    assert asked["lora"] == {"lora_alpha": 3, "r": 2}
    settings = asked["settings"]
    assert (settings["learning_rate"], settings["seed"], settings["packing"]) == (1e-3, 4, True)
    again = run(
        "train", *common, "--config", config, "--loss", "tofu", "--gamma", 2, "--lora-r", 2,
        "--lr", "1e-3", "--seed", 4, "--packing", "--max-length", 48, "--output", out,
    )  # fmt: skip
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "x"), "No model. Name it: --model"),
        (("--model", "m", "--data", "d", "--output", "x", "--gamma", "-1"), "tofu: gamma is -1.0"),
        (("--model", "m", "--data", "d", "--output", "x", "--beta", "0"), "tofu: beta is 0.0; exp"),
        (
            ("--model", "m", "--data", "d", "--output", "x", "--beta", "nan"),
            "beta is nan; exp",
        ),
        (("--config", "papr"), "There is no config file 'papr'"),
        (("--model", "no/where/x", "--data", "d", "--output", "x"), "There is no model at 'no/wh"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("train", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep(common, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("max_steps: 1\nsave_strategy: 'no'\n")
    out = tmp_path / "sweep"
    done = run(
        "sweep", *common, "--config", config, "--loss", "ce,tofu", "--seeds", 2, "--jobs", 2,
        "--task", "open-prompts", "--limit", 2, "--samples", 2, "--max-tokens", 3,
        "--metric", "distinct_1", "--output", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Over 2 seeds" in done.stdout
    assert "tofu-seed1" in (out / "run" / "run.json").read_text()
    assert "tofu  " in done.stdout  # the seeds of a loss are one model of the table
    assert (out / "run" / "leaderboard.json").exists()
    bad = run("sweep", *common, "--loss", "ce", "--seeds", 0, "--task", "t", "--output", out)
    assert bad.exit_code == 2
    assert "--seeds must be at least 1, got 0" in bad.stderr
