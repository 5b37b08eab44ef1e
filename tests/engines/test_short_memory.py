"""The transformers engine under a real limit of memory (RLIMIT_AS): batches halve, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine_requests import asks, rows
from support.processes import limited, needs_limits

from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Sampling
from tofu_eval.engines.transformers import TransformersEngine

pytestmark = needs_limits

SAMPLES = 256


def widened(model: Path, path: Path, vocabulary: int) -> Path:
    """The tiny model with far more tokens: what a response takes is nearly all logits."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(model, vocab_size=vocabulary, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(model).save_pretrained(path)
    return path


def opened(model: Path, batch_size: int) -> TransformersEngine:
    engine = TransformersEngine(parse_model(f"m={model}"), batch_size=batch_size, device="cpu")
    _ = engine._model  # the limit is to be met by a batch, not by loading
    return engine


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_batches_halve_where_memory_is_short(
    tiny_model: Path, tmp_path: Path, top_p: float
) -> None:
    """The rows are those of small batches, whatever asked for the memory that was not there."""
    engine = opened(widened(tiny_model, tmp_path / "wide", 50_000), SAMPLES)
    requests = asks(Sampling(samples=SAMPLES, top_p=top_p, max_tokens=2), ["Name a bird. " * 4])
    size, made = limited(100, lambda: (rows(engine, requests), engine._rows)[::-1])
    assert 4 <= size < SAMPLES
    engine._rows = 32
    assert made == rows(engine, requests)


def test_a_response_that_does_not_fit_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    engine = opened(widened(tiny_model, tmp_path / "wide", 1_000_000), 4)
    requests = asks(Sampling(samples=4, max_tokens=2), ["Name a bird."])
    with pytest.raises(ModelError) as caught:
        limited(8, lambda: rows(engine, requests))
    assert str(caught.value).startswith("'m' runs out of memory on a single response of prompt")
    assert "\n" not in str(caught.value)
