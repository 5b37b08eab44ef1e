"""Several writers of one run, and memory that is short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import invoke
from support.processes import limited, needs_limits, together

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
