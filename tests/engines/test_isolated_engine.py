"""The transformers engine in a process of its own."""

from __future__ import annotations

import json
import os
import signal
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from support.engine_requests import asks, rows

import tofu_eval as te
from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.engines.isolated import IsolatedEngine
from tofu_eval.engines.open import open_engine
from tofu_eval.run.store import Run


def task_of(prompts: int, tokens: int) -> te.Task:
    made = [te.Prompt.of_text(str(i), f"Name a fruit {i}") for i in range(prompts)]
    return te.Task("t", 1, lambda: made, sampling=te.Sampling(3, max_tokens=tokens))


def open_apart(model: Path) -> Any:
    return open_engine(
        "transformers", parse_model(f"m={model}"), batch_size=4, device="cpu", isolate=True
    )


@pytest.mark.slow
def test_its_rows_are_those_of_the_engine_in_this_process(tiny_model: Path) -> None:
    apart = open_apart(tiny_model)
    here = open_engine(
        "transformers", parse_model(f"m={tiny_model}"), batch_size=4, device="cpu", isolate=False
    )
    assert isinstance(apart, IsolatedEngine)
    requests = asks(te.Sampling(3, max_tokens=5))
    assert rows(apart, requests) == rows(here, requests)
    done = {requests[0].key, requests[5].key}
    assert rows(apart, requests, done) == rows(here, requests, done)
    assert (apart.family, apart.identity) == (here.family, here.identity)
    pid = apart._remote.pid
    apart.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    here.close()


@pytest.mark.slow
def test_killed_in_the_middle_it_is_one_line_and_the_next_call_finishes(
    tiny_model: Path, tmp_path: Path
) -> None:
    task = task_of(40, 30)  # enough that it is still at work when its first list is saved
    te.evaluate(
        {"m": tiny_model}, task, tmp_path / "whole", device="cpu", batch_size=4,
        metrics=["unique_rate"],
    )  # fmt: skip
    engine = open_apart(tiny_model)
    killed = _KilledAfterOneBatch(engine)
    with pytest.raises(ModelError, match=r"^The engine of 'm' was killed \(signal 9\)"):
        te.evaluate({"m": killed}, task, tmp_path / "run", metrics=["unique_rate"])
    kept = len(Run.open(tmp_path / "run").response_keys("m", "t"))
    assert 0 < kept < 120
    te.evaluate({"m": engine}, task, tmp_path / "run", metrics=["unique_rate"])
    engine.close()
    one, other = (
        sorted(Run.open(tmp_path / name).responses("m", "t").to_pylist(), key=itemgetter("key"))
        for name in ("whole", "run")
    )
    assert one == other


@pytest.mark.slow
def test_a_run_with_every_model_apart_equals_one_in_this_process(
    tiny_chat_model: Path, tiny_reward_model: Path, tmp_path: Path
) -> None:
    boards = []
    for isolate in (False, True):
        output = tmp_path / str(isolate)
        te.evaluate(
            {"m": tiny_chat_model}, task_of(6, 6), output, device="cpu", isolate=isolate,
            reward={"model": str(tiny_reward_model)}, metrics=["unique_rate", "vendi"],
        )  # fmt: skip
        board = json.loads((output / "leaderboard.json").read_text())
        boards.append([{k: v for k, v in row.items() if k != "run"} for row in board["rows"]])
        record = Run.open(output).manifest["models"]["m"]["record"]
        assert ("process" in record) == isolate
    assert boards[0] == boards[1]


class _KilledAfterOneBatch:
    """The engine, whose process is killed when its first list has been handed over."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.family, self.identity = engine.family, engine.identity

    def generate(self, requests: Any, done: Any = ()) -> Any:
        for batch in self._engine.generate(requests, done):
            yield batch
            if (pid := self._engine._remote.pid) is not None:
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        pass
