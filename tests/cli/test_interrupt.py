"""Ctrl-C typed into a terminal while `tofu-eval score` draws its bar; then the same command."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from tofu_eval.run.store import Run

pty = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")

PROMPTS, RESPONSES = 500, 10


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    stream = random.Random(0)
    words = [f"w{i}" for i in range(300)]
    path = tmp_path / "m.jsonl"
    with path.open("w") as file:
        for id in range(PROMPTS):
            texts = [" ".join(stream.choices(words, k=60)) for _ in range(RESPONSES)]
            file.write(json.dumps({"id": id, "responses": texts}) + "\n")
    return path


def on_a_terminal(file: Path, output: Path, *, interrupt: bool = False) -> tuple[int, list[str]]:
    """Exit code, and what the terminal showed; with `interrupt`, ^C once some scores are saved."""
    command = [sys.executable, "-m", "tofu_eval.cli", "score", str(file), "--output", str(output)]
    command += ["--metric", "self_bleu", "--metric", "rouge_l_homogenization"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    child, terminal = pty.fork()
    if child == 0:
        # A shell starts what it puts into the background deaf to Ctrl-C, and children inherit it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(command[0], command, environment)
    shown, deadline = b"", time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.01)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # what Linux says once the other side has closed
                break
            if not part:
                break
            shown += part
        if interrupt and len(list((output / "scores").rglob("part-*"))) >= 2:
            os.write(terminal, b"\x03")
            interrupt = False
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    return os.waitstatus_to_exitcode(status), lines


def tables(output: Path) -> tuple[object, object]:
    run = Run.open(output)
    return run.scores().to_pylist(), run.estimates()


@pytest.mark.slow
def test_ctrl_c_while_scoring_and_the_same_command_again(responses: Path, tmp_path: Path) -> None:
    code, lines = on_a_terminal(responses, tmp_path / "whole")
    assert code == 0, lines
    assert any(re.match(rf"score .*{PROMPTS}/{PROMPTS}", line) for line in lines)

    code, lines = on_a_terminal(responses, tmp_path / "cut", interrupt=True)
    assert code == 130, lines
    assert lines[-1].endswith(
        "Interrupted. What is finished is kept; the same command goes on from there."
    )
    assert not any("Traceback" in line for line in lines)
    kept = list((tmp_path / "cut" / "scores").rglob("part-*"))
    assert 2 <= len(kept) < -(-PROMPTS // 64)
    times = {part: part.stat().st_mtime_ns for part in kept}

    code, lines = on_a_terminal(responses, tmp_path / "cut")
    assert code == 0, lines
    assert {part: part.stat().st_mtime_ns for part in kept} == times
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
