"""What a run has to make, counted without a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import invoke, refused

from tofu_eval.pipeline.workload import find_workload

TASK = """\
name: fruit
version: 1
licence: CC0-1.0
source: written for this test
citation: none
format: base
sampling: {samples: 5, temperature: 1.0, max_tokens: 8}
metrics: [unique_rate]
prompts: ["Name a fruit.", "Néhmen Sie ein Obst!"]
"""
ENGINE = """\
import tofu_eval as te


@te.engine("parrot")
def open_parrot(spec, **options):
    return Parrot()


class Parrot:
    family, identity = "parrot", {"kind": "parrot"}

    def generate(self, requests, done=()):
        for r in requests:
            if r.key not in done:
                about = (r.key, r.model, r.task, r.prompt_id, r.sample)
                yield [te.Response(*about, r.text or "", finish_reason="stop")]

    def close(self):
        pass
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "fruit.yaml"
    path.write_text(TASK, "utf-8")
    return path


def test_responses_prompts_and_tokens(task: Path, tmp_path: Path) -> None:
    work = find_workload({"a": "no/model", "b": "no/other"}, [task], tmp_path / "run", samples=3)
    assert (work.responses, work.prompts, work.models, work.done) == (12, 2, 2, 0)
    assert work.makes == 12 * 8
    # 13 bytes are 4 tokens, 21 bytes are 6.
    assert work.reads == 2 * 3 * (4 + 6)
    assert work.price(1e6, 0) == 60
    assert work.price(0, 2e6) == 192
    assert not (tmp_path / "run").exists()


def test_a_sweep_and_methods_are_models_of_their_own(task: Path, tmp_path: Path) -> None:
    asked = {"temperature": [0.5, 1.0], "methods": ["plain", "verbalized", "again"]}
    work = find_workload({"a": "no/model"}, [task], tmp_path / "run", **asked)
    assert len(work.parts) == 6
    by_name = {part.model: part for part in work.parts}
    plain, again = by_name["a-T1"], by_name["a-again-T1"]
    assert again.makes == plain.makes == 80
    # Each of 5 is asked with those before it in sight: 0 + 1 + 2 + 3 + 4 of 8 tokens, twice.
    assert again.reads >= plain.reads + 2 * 10 * 8
    assert by_name["a-verbalized-T1"].makes > plain.makes


def test_what_is_wrong_is_said_without_a_model(task: Path, tmp_path: Path) -> None:
    run = ("run", "--dry-run", "--model", "a=no/model", "--task", task, "--output", tmp_path / "x")
    assert "Unknown metric 'vendy'" in refused(*run, "--metric", "vendy")
    assert "at least 0, got nan" in refused(*run, "--price-in", "nan")
    assert "Add --dry-run" in refused("run", *run[2:], "--price-out", "1")


@pytest.mark.usefixtures("forgotten")
def test_a_dry_run_counts_what_is_there(task: Path, tmp_path: Path) -> None:
    (tmp_path / "parrot.py").write_text(ENGINE, "utf-8")
    run = ("run", "--task", task, "--output", tmp_path / "run", "--metric", "unique_rate")
    engine = ("--engine", tmp_path / "parrot.py")
    done = invoke(*run, *engine, "--model", "a=any")
    assert done.exit_code == 0, done.output
    assert "To make: 10 responses to 2 prompts by 1 model, at most 80 tokens." in done.stderr
    again = invoke(*run, *engine, "--model", "a=any")
    assert "To make" not in again.stderr
    models = ("--model", "a=any", "--model", "b=any")
    prices = ("--price-in", "1000", "--price-out", "2000")
    dry = invoke(*run, *engine, *models, "--dry-run", *prices)
    assert dry.exit_code == 0, dry.output
    assert (
        "To make: 10 responses (10 are there) to 2 prompts by 1 model, at most 80 tokens."
        in dry.stdout
    )
    assert "Price: at most 0.21 (0.05 to read, 0.16 to make)" in dry.stdout
    assert "Nothing is left to make." in invoke(*run, "--model", "a=any", "--dry-run").stdout
