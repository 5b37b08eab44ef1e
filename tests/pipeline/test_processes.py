"""Several writers of one run, and memory that is short."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import invoke
from support.processes import limited, memory_group, needs_limits, together

from tofu_eval.run.store import Run
from tofu_eval.run.verify import verify


@pytest.mark.parametrize("count", [2, 5])
def test_writers_of_one_run(count: int, tmp_path: Path) -> None:
    rows = [{"prompt": f"Name bird {i}.", "responses": ["owl", "jay"]} for i in range(40)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def score(number: int) -> tuple[int, str]:
        result = invoke(
            "score", tmp_path / "m.jsonl", "--metric", "unique_rate", "--output", tmp_path / "run"
        )
        return result.exit_code, result.stderr

    said = together(count, score)
    assert {code for code, _ in said} <= {0, 2}
    assert any(code == 0 for code, _ in said)
    for code, stderr in said:
        assert code == 0 or "is being written by another process" in stderr, stderr
        assert code == 0 or stderr.count("Error: ") == 1
    assert not verify(tmp_path / "run").problems
    alone = invoke(
        "score", tmp_path / "m.jsonl", "--metric", "unique_rate", "--output", tmp_path / "alone"
    )
    assert alone.exit_code == 0
    one, other = Run.open(tmp_path / "run"), Run.open(tmp_path / "alone")
    task = next(iter(one.manifest["tasks"]))
    assert one.responses("m", task) == other.responses("m", task)
    assert one.scores() == other.scores()
    assert not [p for p in (tmp_path / "run").rglob("*") if p.name.startswith(".tmp")]


@needs_limits
def test_memory_that_is_short_is_one_line(tmp_path: Path) -> None:
    row = {"prompt": "Name a bird.", "responses": ["owl " * 3_000_000, "jay"]}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))

    def score() -> tuple[int, str]:
        result = invoke(
            "score", tmp_path / "m.jsonl", "--metric", "distinct_1", "--output", tmp_path / "run"
        )
        return result.exit_code, result.stderr

    code, stderr = limited(20, score)
    assert code == 2, stderr
    assert stderr.startswith("Error: Not enough memory: ")
    assert stderr.count("\n") == 1
    again = invoke(
        "score", tmp_path / "m.jsonl", "--metric", "distinct_1", "--output", tmp_path / "run"
    )
    assert again.exit_code == 0, again.output
    assert not verify(tmp_path / "run").problems


TASK = """
name: {name}
version: 1
licence: CC0-1.0
description: Names of birds.
prompts:
  - {{id: a, text: Name a bird}}
sampling: {{samples: {samples}, temperature: {temperature}, max_tokens: 2}}
"""


@pytest.mark.slow
def test_a_group_of_processes_that_takes_too_much_is_killed_and_goes_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    """As a container's limit does it: no error is raised, the kernel ends the process."""
    from support.tiny_engine import widened

    model = widened(tiny_model, tmp_path / "wide", 50_000)
    command = [sys.executable, "-m", "tofu_eval.cli", "run", "--model", f"m={model}"]
    command += ["--batch-size", "1024", "--metric", "unique_rate"]
    for name, samples, temperature in (("few", 4, 0.5), ("many", 1024, 1.0)):
        (tmp_path / f"{name}.yaml").write_text(
            TASK.format(name=name, samples=samples, temperature=temperature)
        )
        command += ["--task", str(tmp_path / f"{name}.yaml")]
    with memory_group(900) as joined:
        killed = subprocess.run(
            ["sh", "-c", 'echo $$ > "$0" && exec "$@"', joined, *command, "--output", "run"],
            cwd=tmp_path,
        )
    assert killed.returncode == -signal.SIGKILL
    run = Run.open(tmp_path / "run")
    assert (len(run.response_keys("m", "few")), len(run.response_keys("m", "many"))) == (4, 0)
    for output in ("run", "alone"):
        subprocess.run([*command, "--output", output], cwd=tmp_path, check=True)
    assert not verify(tmp_path / "run").problems
    one, other = Run.open(tmp_path / "run"), Run.open(tmp_path / "alone")
    for task in ("few", "many"):
        assert one.responses("m", task).equals(other.responses("m", task))
    assert one.scores().equals(other.scores())
