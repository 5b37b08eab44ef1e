"""docs/integrations.md: its examples run as they stand, and their checkpoints are asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.doc_pages import ROOT, blocks_of

from tofu_eval.cli import main

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
