"""The ray engine on a local cluster, started and ended here: `make test-engines`."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine_requests import EAGER, asks, first_token_p, rows
from support.ray_cluster import actors, cluster

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.open import open_engine
from tofu_eval.run.store import Run

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not here: make test-engines"
    ),
]
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster():
        yield


def open_ray(model: Path, inner: str = "transformers", **options: Any) -> Any:
    args = {"engine": inner, "actors": 2, "num_cpus": 1}
    if inner == "vllm":
        args |= EAGER
    spec = parse_model(f"m={model}")
    return open_engine("ray", spec, engine_args=args, device="cpu", **options)


@pytest.mark.parametrize("inner", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_greedy_rows_are_those_of_transformers(inner: str, served_model: Path) -> None:
    requests = asks(Sampling(samples=1, temperature=0, max_tokens=24))
    plain = open_engine("transformers", parse_model(f"m={served_model}"), device="cpu")
    expected = rows(plain, requests)
    engine = open_ray(served_model, inner, batch_size=2)
    assert engine.family == f"ray-{inner}"
    made = rows(engine, requests)
    for key, row in expected.items():
        assert (made[key].text, made[key].token_ids) == (row.text, row.token_ids)
        assert made[key].logprob == pytest.approx(row.logprob, abs=1e-3)


@pytest.mark.parametrize("inner", ["transformers", pytest.param("vllm", marks=needs_vllm)])
def test_first_tokens_follow_the_models_distribution(inner: str, served_model: Path) -> None:
    requests = asks(Sampling(samples=2000, max_tokens=1), ["Name a fruit"])
    made = rows(open_ray(served_model, inner, batch_size=250), requests)
    tokens = [row.token_ids[0] for row in made.values() if row.token_ids]
    assert len(tokens) == 2000
    assert first_token_p(served_model, "Name a fruit", tokens) > 0.001


def test_a_resumed_run_makes_the_same_blocks(served_model: Path) -> None:
    requests = asks(Sampling(samples=4, max_tokens=12))
    engine = open_ray(served_model, batch_size=7)
    whole = rows(engine, requests)
    done = {request.key for i, request in enumerate(requests) if i % 2}
    assert rows(engine, requests, done) == {k: r for k, r in whole.items() if k not in done}
    assert rows(engine, requests, set(whole)) == {}


def test_a_killed_actor_costs_its_block(served_model: Path, tmp_path: Path) -> None:
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}") for i in range(4)]
    task = te.Task("t", 1, lambda: prompts, sampling=Sampling(samples=60, max_tokens=60))

    def evaluate(name: str, **options: Any) -> te.Result:
        engine = open_ray(served_model, batch_size=12)
        return te.evaluate(
            {"m": engine}, [task], tmp_path / name, metrics=["unique_rate"], **options
        )

    killed: list[int] = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "generate m" and 0 < done < total and not killed:
            killed.extend(actors()[:1])
            os.kill(killed[0], signal.SIGKILL)

    evaluate("run", report=kill)
    assert killed
    evaluate("whole")
    tables = [Run.open(tmp_path / name).responses("m", "t") for name in ("run", "whole")]
    assert tables[0].num_rows == len(set(tables[0].column("key").to_pylist())) == 240
    assert tables[0].equals(tables[1])


def test_what_cannot_be(served_model: Path) -> None:
    with pytest.raises(ModelError, match="is too long for 'm'"):
        rows(open_ray(served_model), asks(Sampling(samples=1, max_tokens=16), ["long " * 100]))
    with pytest.raises(ConfigError, match="'actors' cannot be 0"):
        open_engine("ray", parse_model(f"m={served_model}"), engine_args={"actors": 0})
