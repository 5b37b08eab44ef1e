"""`tofu-eval run --temperature A,B` and `tofu-eval frontier`, from end to end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support.commands import invoke, refused

from tofu_eval.run.store import Run

METRICS = (
    *("--metric", "self_bleu", "--metric", "unique_rate", "--metric", "mean_length"),
    *("--metric", "reference_coverage_exact"),
)
TASK = """name: fruit
version: 1
licence: CC0-1.0
source: made here
citation: none
sampling: {samples: 4, max_tokens: 8}
prompts:
  - {text: Name a fruit., references: [apple]}
  - {text: Name a river., references: [Rhine]}
  - {text: Name a colour., references: [red]}
  - {text: Name a small animal., references: [mouse]}
"""
AXES = ("--quality", "reference_coverage_exact", "--diversity", "self_bleu")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A sweep of one real, tiny model, named twice."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "fruit.yaml").write_text(TASK)
    models = [part for name in ("sft", "tofu") for part in ("--model", f"{name}={tiny_model}")]
    command = ["run", *models, "--task", folder / "fruit.yaml", *METRICS]
    result = invoke(*command, "--temperature", "0.5,1.5", "--output", folder / "run")
    assert result.exit_code == 0, result.output
    assert f"Frontier:    tofu-eval frontier {folder / 'run'} --quality" in result.stdout
    return folder / "run"


def test_a_sweep_is_one_run(swept: Path) -> None:
    models = Run.open(swept).manifest["models"]
    assert {name: (m["series"], m["temperature"]) for name, m in models.items()} == {
        "sft-T0.5": ("sft", 0.5),
        "sft-T1.5": ("sft", 1.5),
        "tofu-T0.5": ("tofu", 0.5),
        "tofu-T1.5": ("tofu", 1.5),
    }
    assert invoke("runs", "verify", swept).exit_code == 0
    assert invoke("compare", swept, "--baseline", "sft-T0.5").exit_code == 0


def test_frontier_in_every_format(swept: Path) -> None:
    table = invoke("frontier", swept, *AXES)
    assert table.exit_code == 0, table.output
    assert "tofu-T1.5" in table.stdout
    assert "hypervolume" in table.stdout
    rows = list(
        csv.DictReader(io.StringIO(invoke("frontier", swept, *AXES, "--format", "csv").stdout))
    )
    assert [row["temperature"] for row in rows] == ["0.5", "1.5", "0.5", "1.5"]
    (content,) = json.loads(invoke("frontier", swept, *AXES, "--format", "json").stdout)
    # The same weights at the same temperatures: nothing may be clear.
    assert content["at_equal_quality"][0]["verdict"] in ("unclear", "missing")
    assert invoke("frontier", swept, *AXES, "--format", "markdown").stdout.startswith("### fruit")


def test_frontier_names_what_is_wrong(swept: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--quality", "reward", "--diversity", "self_bleu"), "was not scored with 'reward'"),
        (("--quality", "rewart", "--diversity", "self_bleu"), "Unknown metric 'rewart'"),
        (
            ("--quality", "mean_length", "--diversity", "self_bleu"),
            "'mean_length' measures length; --quality takes a metric of quality",
        ),
        (
            ("--quality", "self_bleu", "--diversity", "unique_rate"),
            "'self_bleu' measures diversity; --quality takes a metric of quality",
        ),
        (
            ("--quality", AXES[1], "--diversity", AXES[1]),
            "measures quality; --diversity takes a metric of diversity",
        ),
        ((*AXES, "--task", "fruits"), "Unknown task 'fruits'. Did you mean 'fruit'?"),
        ((*AXES, "--series", "gem"), "Unknown series 'gem'"),
        ((*AXES, "--baseline", "sft-T0.5"), "Unknown series 'sft-T0.5'"),
    ):
        assert message in refused("frontier", swept, *arguments)
    assert "no run" in refused("frontier", tmp_path / "none", *AXES)


def test_run_refuses_bad_temperatures_first(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "fruit.yaml").write_text(TASK)
    command = ["run", "--model", f"sft={tiny_model}", "--task", tmp_path / "fruit.yaml"]
    command += ["--output", tmp_path / "run"]
    assert "temperature 0 is greedy" in refused(*command, "--temperature", "0,0.7")
    assert "stands twice in the sweep" in refused(*command, "--temperature", "0.7,0.7")
    assert "Unknown model 'sft'" in refused(
        *command, "--temperature", "0.5,0.7", "--baseline", "sft"
    )
    result = invoke(*command, "--temperature", "warm")
    assert result.exit_code == 2
    assert "got 'warm'. Write one number, or a sweep: 0.3,0.7,1.0" in result.output
    assert not (tmp_path / "run").exists()


def test_a_sweep_in_a_config_file(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "fruit.yaml").write_text(TASK)
    (tmp_path / "run.yaml").write_text(
        f"models: {{sft: {tiny_model}}}\ntasks: [{tmp_path / 'fruit.yaml'}]\n"
        f"output: {tmp_path / 'run'}\ntemperature: [0.5, 1]\nmetrics: [unique_rate]\n"
    )
    assert invoke("run", "--config", tmp_path / "run.yaml").exit_code == 0
    assert list(Run.open(tmp_path / "run").manifest["models"]) == ["sft-T0.5", "sft-T1"]
