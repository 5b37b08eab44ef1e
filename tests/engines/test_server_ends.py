"""A command that a server lets down ends: one line is its last word, and no thread keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_server import FakeServer

SECONDS = 240.0


@pytest.mark.parametrize("fault", ["hang", "404"])
def test_the_last_word_is_the_error(fault: str, tmp_path: Path) -> None:
    rows = {"prompt": "Name a bird.", "responses": ["owl", "jay", "rook"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows))
    # The second answer is late or refused, while the first is there and others are under way.
    with FakeServer(dict.fromkeys(range(1, 99), fault), hang=600.0) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tofu_eval.cli", "score", "rows.jsonl", "--output", "run"),
                *("--metric", "judge_rating", "--judge-model", "j", "--judge-engine", "openai"),
                *("--judge-base-url", server.url, "--judge-engine-arg", "timeout=1"),
                *("--judge-engine-arg", "deadline=2"),
            ],
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), done.stderr
    assert "Cancelled" not in done.stderr
    assert "Traceback" not in done.stderr
