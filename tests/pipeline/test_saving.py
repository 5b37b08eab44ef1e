"""Responses that an engine gives one by one: few part files, none lost, each can be read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, Response
from tofu_eval.pipeline import generate
from tofu_eval.run.store import Run

SAMPLES = 50


class OneByOne(FakeEngine):
    """Lists of one response; stops after some."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(batch_size=1, fail_after=stop)


class Ready(FakeEngine):
    """Has all its responses before the first is asked for, and says how many are on the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(batch_size=1)
        self.path = path
        self.waiting: list[tuple[int, int]] = []

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        for given, batch in enumerate(super().generate(requests, done)):
            if given % 97 == 0:
                saved = Run.open(self.path).count_keys("m", "t") if given else 0
                self.waiting.append((given, given - saved))
            yield batch


def evaluate(engine: FakeEngine, output: Path, prompts: int = 10) -> te.Result:
    asked = [te.Prompt.of_text(f"p{i}", f"Name {i}") for i in range(prompts)]
    sampling = te.Sampling(samples=SAMPLES, max_tokens=8)
    task = te.Task("t", 1, lambda: asked, sampling=sampling)
    return te.evaluate({"m": engine}, task, output, metrics=["unique_rate"])


def test_parts_grow_with_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "WAITING_SHARE", 8)
    monkeypatch.setattr(generate, "TOGETHER", 32)
    engine = Ready(tmp_path / "run")
    evaluate(engine, tmp_path / "run")
    assert len(engine.waiting) > 3
    assert all(waiting <= min(given / 8, 32) for given, waiting in engine.waiting)
    run = Run.open(tmp_path / "run")
    assert run.count_keys("m", "t") == 10 * SAMPLES
    assert len(run.response_parts("m", "t")) < 70  # not 500


def test_nothing_waits_when_an_engine_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(OneByOne(stop=321), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.count_keys("m", "t") == 321
    evaluate(OneByOne(), tmp_path / "run")
    evaluate(OneByOne(), tmp_path / "whole")
    tables = [Run.open(tmp_path / name).responses("m", "t") for name in ("run", "whole")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"logprob": -math.inf}, "'m' is broken: the log-probability of a response .* is -inf"),
        ({"logprob": math.nan}, "'m' is broken: the log-probability of a response .* is nan"),
        ({"state": "done"}, "The engine 'fake' gave a response .* in the state 'done'; expected"),
    ],
)
def test_what_no_table_can_hold_is_not_written(
    odd: dict[str, Any], message: str, tmp_path: Path
) -> None:
    class Odd(FakeEngine):
        def _response(self, request: Request) -> Response:
            return replace(super()._response(request), **odd)

    with pytest.raises(ModelError, match=message):
        evaluate(Odd(), tmp_path / "run")
    assert not Run.open(tmp_path / "run").has_responses()
    evaluate(FakeEngine(), tmp_path / "run")
