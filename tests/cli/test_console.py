"""Progress on stderr."""

from __future__ import annotations

import pytest

from tofu_eval.cli import console
from tofu_eval.cli.console import View, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only a test moves."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_now_and_then(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as report:
        assert isinstance(report, View)
        for step in range(0, 101, 10):
            clock[0] = float(step)
            report("generate sft", step * 4, 400)
            report.tokens("generate sft", 1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "generate sft: 120 of 400, 100 tokens/s, 30 s so far, about 70 s left",
        "generate sft: 240 of 400, 100 tokens/s, 60 s so far, about 40 s left",
        "generate sft: 360 of 400, 100 tokens/s, 2 min so far, about 10 s left",
    ]


def test_a_short_command_says_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as report:
        report("score", 0, 2)
        clock[0] = 29.0
        report("score", 2, 2)
    assert capsys.readouterr().err == ""


def test_a_stage_cannot_write_commands(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as report:
        clock[0] = 31.0
        report("train \x1b[2Jx", 1, 2)
    assert "\x1b" not in capsys.readouterr().err
