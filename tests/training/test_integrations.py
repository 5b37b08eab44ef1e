"""docs/integrations.md: its examples run as they stand, and their checkpoints are asked."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.doc_pages import ROOT, blocks_of

from tofu_eval.cli import main
from tofu_eval.training import mean_loss
from tofu_eval.training.losses import tofu

EXAMPLES = [block for block in blocks_of(ROOT / "docs" / "integrations.md")
            if block.language == "python"]  # fmt: skip


@pytest.mark.slow
def test_the_examples_run_and_their_checkpoints_are_asked(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny_model, tmp_path / "models" / "base")
    rows = [{"prompt": f"Name a fruit, {i}.", "completion": " A pear."} for i in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for block in EXAMPLES[:2]:
        names: dict[str, Any] = {}
        exec(compile(block.text, f"line {block.line}", "exec"), names)
        history = names["trainer"].state.log_history
        watched = [entry["step"] for entry in history if "diversity/unique_rate" in entry]
        assert watched == [0, 2, 4]
    asked = ["--task", "open-prompts", "--format", "base", "--limit", "2", "--samples", "2"]
    models = {
        "base": "models/base", "tofu": "checkpoints/trainer",
        "lora": "models/base+checkpoints/trl",
    }  # fmt: skip
    given = [word for name, path in models.items() for word in ("--model", f"{name}={path}")]
    shown = ["--max-tokens", "8", "--metric", "unique_rate", "--output", "runs/x"]
    done = CliRunner().invoke(main, ["run", *given, *asked, *shown])
    assert done.exit_code == 0, done.output
    board = json.loads((tmp_path / "runs" / "x" / "leaderboard.json").read_text())
    assert {"tofu", "lora"} <= {model["name"] for model in board["models"]}


def example_of(word: str) -> dict[str, Any]:
    """What the example that has a word in it defines."""
    (block,) = (block for block in EXAMPLES if word in block.text.splitlines())
    names: dict[str, Any] = {}
    exec(compile(block.text, f"line {block.line}", "exec"), names)
    return names


def test_the_plugin_of_axolotl_sets_the_loss(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Trainer of transformers, with Axolotl's base class, which is empty, left out."""
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    base = ModuleType("axolotl.integrations.base")
    base.BasePlugin = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "axolotl.integrations.base", base)
    plugin = example_of("class Diverse(BasePlugin):")["Diverse"]()
    ids = [{"input_ids": [3, 4, 5, 6], "labels": [-100, 4, 5, 6]}] * 4
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    args = TrainingArguments(
        str(tmp_path), max_steps=1, use_cpu=True, logging_steps=1, disable_tqdm=True,
        save_strategy="no", report_to="none", per_device_train_batch_size=4,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=ids)
    plugin.post_trainer_create(None, trainer)
    (watch,) = plugin.add_callbacks_post_trainer(None, trainer)
    assert watch.every == 100
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([[3, 4, 5, 6]])).logits[:, :-1]
    expected = mean_loss(tofu(), logits, torch.tensor([[4, 5, 6]])).loss.item()
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-3)


def test_the_loss_for_torchtune_is_the_loss() -> None:
    """As its recipes call it: logits (tokens, V), labels shifted with an ignored one at the end."""
    loss = example_of("class TofuLoss(torch.nn.Module):")["TofuLoss"]()
    logits = torch.randn(2, 9, 61, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, 61, (2, 9), generator=torch.Generator().manual_seed(1))
    labels[:, :3] = -100
    shifted = torch.hstack((labels[:, 1:], torch.full((2, 1), loss.ignore_index)))
    found = loss(logits.reshape(-1, 61), shifted.reshape(-1))
    torch.testing.assert_close(found, mean_loss(tofu(), logits[:, :-1], labels[:, 1:]).loss)
