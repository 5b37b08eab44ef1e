"""The openai engine against `vllm serve`, on this machine: `make test-engines`."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine_requests import PROMPTS, asks, first_token_p, rows
from support.vllm_server import serving

import tofu_eval as te
from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.run.store import Run

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]


@pytest.fixture(scope="module")
def url(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(served_model, tmp_path_factory.mktemp("logs") / "log") as (url, _):
        yield url


def open_server(url: str, **engine_args: Any) -> Any:
    spec = parse_model("m=org/tiny")
    return open_engine("openai", spec, base_url=url, engine_args=engine_args)


@pytest.mark.parametrize("chat", [False, True])
def test_greedy_rows_are_those_of_transformers(url: str, served_model: Path, chat: bool) -> None:
    prompts = [prompt for prompt in PROMPTS if prompt]  # vLLM's server takes no empty text
    requests = asks(Sampling(samples=1, temperature=0, max_tokens=24), prompts, chat=chat)
    plain = open_engine("transformers", parse_model(f"m={served_model}"), device="cpu")
    ours, theirs = rows(open_server(url), requests), rows(plain, requests)
    for key, row in theirs.items():
        assert ours[key].token_ids == row.token_ids
        # Half a character at the end: vLLM's server keeps it back.
        assert ours[key].text == row.text.rstrip("\ufffd")
        assert ours[key].finish_reason == row.finish_reason
        assert ours[key].logprob == pytest.approx(row.logprob, abs=1e-3)


def test_first_tokens_follow_the_models_distribution(url: str, served_model: Path) -> None:
    engine = open_server(url, concurrency=64)
    requests = asks(Sampling(samples=2000, max_tokens=1), ["Name a fruit"])
    tokens = [row.token_ids[0] for row in rows(engine, requests).values() if row.token_ids]
    assert len(tokens) == 2000
    assert first_token_p(served_model, "Name a fruit", tokens) > 0.001
    assert engine.record["endpoints"]["completions"]["seed"] == "honoured"


def test_a_prompt_that_is_too_long_is_one_line(url: str) -> None:
    requests = asks(Sampling(samples=1, max_tokens=16), ["long " * 200])
    with pytest.raises(ModelError, match=r"refuses prompt 'p0' of task 't': 400 .*context length"):
        rows(open_server(url), requests)


def test_a_server_killed_in_the_middle(served_model: Path, tmp_path: Path) -> None:
    prompts = [te.Prompt.of_text(f"p{i}", text) for i, text in enumerate(PROMPTS[2:])]
    task = te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=60, max_tokens=90))

    def evaluate(url: str, **options: Any) -> te.Result:
        options = {"engine_args": {"deadline": 3}, "metrics": ["unique_rate"]} | options
        return te.evaluate(
            {"m": "org/tiny"}, [task], tmp_path / "run",
            engine="openai", base_url=url, batch_size=16, **options,
        )  # fmt: skip

    with serving(served_model, tmp_path / "log") as (url, process):

        def kill(stage: str, done: int, total: int) -> None:
            if stage == "generate m" and 0 < done < total:
                os.killpg(process.pid, signal.SIGKILL)

        with pytest.raises(ModelError, match=r"does not answer: .*run the same command again"):
            evaluate(url, report=kill)
    have = len(Run.open(tmp_path / "run").response_keys("m", "t"))
    assert 0 < have < 180
    with serving(served_model, tmp_path / "log") as (url, _):
        evaluate(url)
    table = Run.open(tmp_path / "run").responses("m", "t")
    assert table.num_rows == len(set(table.column("key").to_pylist())) == 180
