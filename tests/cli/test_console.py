"""Progress on stderr."""

from __future__ import annotations

import json
import time

import pytest

from tofu_eval.cli import console, heartbeat
from tofu_eval.cli.console import View, progress
from tofu_eval.cli.heartbeat import heartbeat_of, saying
from tofu_eval.pipeline.workload import Work, Workload


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only a test moves."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


WORK = Workload(
    (
        Work("base", "fruit", 40, 400, 100, 2000, 25_600),
        Work("sft", "fruit", 40, 400, 0, 2000, 25_600),
        Work("sft", "rivers", 1, 10, 10, 50, 640),
    )
)


def test_the_line_of_a_stage(clock: list[float]) -> None:
    view = View(None, False)
    assert view.line(0.0) == "starting"
    for step in range(0, 31, 10):
        clock[0] = float(step)
        view("generate sft", step * 4, 400)
        view.tokens("generate sft", 1000)
    said = "generate sft: 120 of 400, 133 tokens/s, 30 s so far, about 70 s left"
    assert view.line(0.0) == said
    clock[0] = 150.0
    view("generate sft", 400, 400)
    assert view.line(0.0) == "generate sft: 400 of 400, 27 tokens/s, 2 min so far"


def test_a_stage_that_begins_once_more_has_its_own_time(clock: list[float]) -> None:
    view = View(None, False)
    view("generate sft", 0, 400)
    clock[0] = 100.0
    view("generate sft", 400, 400)
    clock[0] = 2000.0
    view("generate sft", 0, 400)
    clock[0] = 2030.0
    view("generate sft", 120, 400)
    assert view.line(0.0) == "generate sft: 120 of 400, 30 s so far, about 70 s left"


def test_what_was_there_before_does_not_make_it_look_quick(clock: list[float]) -> None:
    view = View(None, False)
    view("generate sft", 300, 400)
    assert view.line(0.0) == "generate sft: 300 of 400, 0 s so far"
    clock[0] = 60.0
    view("generate sft", 310, 400)
    assert view.line(0.0) == "generate sft: 310 of 400, 60 s so far, about 9 min left"


def test_a_run_says_what_it_makes_and_then_how_long_it_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as view:
        view.announce(WORK)
        view("generate base", 100, 400)
        for step, done in enumerate((110, 120, 130, 140), start=1):
            clock[0] = 3.0 * step
            view("generate base", done, 400)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "To make: 700 responses (110 are there) to 41 prompts by 2 models, at most 44,800 tokens.",
        # 3 seconds for 10: 680 are left after the second batch.
        "At this pace all responses take about 3 min more.",
    ]


def test_where_nothing_is_left_nothing_is_said(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress() as view:
        view.announce(Workload((Work("base", "fruit", 40, 400, 400, 2000, 25_600),)))
        clock[0] = 29.0
        view("score", 2, 2)
    assert capsys.readouterr().err == ""


def test_a_stage_that_begins_anew(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as view:
        for asked in range(2):  # a model is asked by one method, then by another
            view.announce(Workload((Work("sft", "fruit", 40, 400, 0, 2000, 25_600),)))
            for step in range(0, 31, 10):
                clock[0] = 1000.0 * asked + step
                view("generate sft", step * 4, 400)
        clock[0] = 1030.0
        assert view.line(0.0) == "generate sft: 120 of 400, 30 s so far, about 70 s left"
        view("generate sft", 400, 400)
    foretold = [line for line in capsys.readouterr().err.splitlines() if "At this pace" in line]
    assert foretold == ["At this pace all responses take about 80 s more."] * 2


def test_json_lines_have_it_too(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress(log_json=True) as view:
        view.announce(WORK)
        view("generate base", 100, 400)
        clock[0] = 30.0
        view("generate base", 110, 400)
    first, _, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["stage"], first["done"], first["total"]) == ("plan", 110, 810)
    assert first["tokens_at_most"] == 44_800
    assert (last["stage"], last["seconds_left"]) == ("generate base", 870.0)


def wait_for(capsys: pytest.CaptureFixture[str], text: str) -> str:
    """What stderr says by the time at which `text` stands there."""
    err, end = "", time.monotonic() + 10
    while text not in err and time.monotonic() < end:
        time.sleep(0.005)
        err += capsys.readouterr().err
    assert text in err
    return err


def test_what_calls_nothing_is_alive_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    with heartbeat_of("compare"):
        wait_for(capsys, "compare: 0 s so far\n")


def test_a_stage_says_more_than_the_command_and_cannot_write_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    with progress() as view:
        view("train \x1b[2Jx", 1, 2)
        assert "\x1b" not in wait_for(capsys, "x: 1 of 2")


def test_a_command_that_ends_says_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    with saying(lambda _: "working"):
        wait_for(capsys, "working\n")
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_of_several_processes_the_first_alone_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.001)
    monkeypatch.setenv("RANK", "1")
    with heartbeat_of("train"), progress() as view:
        view("train x", 1, 2)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("log_json", [True])
def test_json_lines_stay_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log_json: bool
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.001)
    with heartbeat_of("run") as beat, beat.saying(lambda _: None), progress(log_json):
        time.sleep(0.02)
    assert "{" not in capsys.readouterr().err
