"""Where memory ends, batches halve for good, or there is one line; under a real limit as well."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine_requests import asks, rows
from support.processes import limited, needs_limits
from support.tiny_engine import open_tiny, widened

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Response, Sampling
from tofu_eval.engines.transformers import TransformersEngine

SAMPLES = 256


@needs_limits
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_batches_halve_where_memory_is_short(
    tiny_model: Path, tmp_path: Path, top_p: float
) -> None:
    """The rows are those of small batches, whatever asked for the memory that was not there."""
    engine = open_tiny(widened(tiny_model, tmp_path / "wide", 50_000), batch_size=SAMPLES)
    requests = asks(Sampling(samples=SAMPLES, top_p=top_p, max_tokens=2), ["Name a bird. " * 4])

    def make() -> tuple[dict[str, Response], int]:
        made = rows(engine, requests)
        return made, engine._rows

    made, size = limited(100, make)
    assert 4 <= size < SAMPLES
    engine._rows = 32
    expected = rows(engine, requests)
    assert {k: r.token_ids for k, r in made.items()} == {
        k: r.token_ids for k, r in expected.items()
    }
    # The last bits of these depend on the size of the batch.
    assert [r.logprob for r in made.values()] == pytest.approx(
        [expected[key].logprob for key in made], abs=1e-4
    )


@needs_limits
def test_a_response_that_does_not_fit_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    engine = open_tiny(widened(tiny_model, tmp_path / "wide", 3_000_000), batch_size=4)
    requests = asks(Sampling(samples=4, max_tokens=2), ["Name a bird."])
    said = limited(8, lambda: rows(engine, requests))
    assert isinstance(said, ModelError)
    assert str(said).startswith("'m' runs out of memory on a single response of prompt 'p0'")
    assert "run the same command again with more memory" in str(said)
    assert "\n" not in str(said)


# Where torch says so


def scarce(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    """Let a forward of more than two rows fail; return the sizes that were tried."""
    tried: list[int] = []
    original = engine._model.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        size = len(kwargs["input_ids"])
        tried.append(size)
        if size > 2:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(engine._model, "forward", forward)
    return tried


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("std::bad_alloc"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
    ],
)
def test_out_of_memory_halves_the_batch_for_good(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    engine = open_tiny(tiny_model, batch_size=8)
    requests = asks(Sampling(samples=4, max_tokens=8))
    expected = rows(engine, requests)
    tried = scarce(engine, monkeypatch, error)
    made = rows(engine, requests)
    assert {k: r.text for k, r in made.items()} == {k: r.text for k, r in expected.items()}
    assert [size for size in tried if size > 2] == [8, 4]


def test_out_of_memory_on_one_row(engine: TransformersEngine, tiny_model: Path) -> None:
    lone = open_tiny(tiny_model, batch_size=4)

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    lone._model.generate = fail
    with pytest.raises(ModelError, match=r"out of memory on a single response of prompt 'p\d'"):
        rows(lone, asks(Sampling(samples=1, max_tokens=8)))


def test_other_errors_are_not_taken_for_memory(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny(tiny_model)
    tried = scarce(engine, monkeypatch, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        rows(engine, asks(Sampling(samples=4, max_tokens=8)))
    assert tried == [20]
