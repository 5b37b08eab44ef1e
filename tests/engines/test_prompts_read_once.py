"""A prompt of several samples is read once for all of them, and the rows are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.engine_requests import asks, rows

from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Request, Sampling
from tofu_eval.engines.transformers import TransformersEngine

PROMPTS = ["a b c", "Name a fruit", "Write a short story about the old clock.", "☃ Give me"]

SAMPLES = 5

ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 2}, True),
    "positions": ("GPTNeoXConfig", {}, True),
    "window": (
        "Gemma2Config",
        {"num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6},
        True,
    ),
    "convolution": (
        "Lfm2Config",
        {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
        False,
    ),
    "state space": ("MambaConfig", {"state_size": 4}, False),
}
"""A configuration, and whether its cache is of keys and values alone."""


@pytest.fixture(params=list(ARCHITECTURES))
def model(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> tuple[Path, bool]:
    """A random model of an architecture, with the tiny model's tokenizer."""
    name, fields, shares = ARCHITECTURES[request.param]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    config = getattr(transformers, name)(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, initializer_range=0.25,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, **fields,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path, shares


def test_rows_are_those_of_prompts_read_anew(model: tuple[Path, bool]) -> None:
    folder, shares = model
    requests = asks(Sampling(samples=SAMPLES, top_p=0.95, max_tokens=12), PROMPTS)
    apart, together = open_engine(folder), open_engine(folder)
    apart._shares = False
    read_apart, expected = count_read(apart, requests)
    read, made = count_read(together, requests)
    assert together._shares == shares
    assert len({row.token_ids for row in expected.values()}) > len(PROMPTS)
    for key, row in made.items():
        assert row.token_ids == expected[key].token_ids
        assert row.logprob == pytest.approx(expected[key].logprob, abs=1e-3)
    longest = max(len(ids) for ids in together._encoder.encode_all(requests))
    saved = (SAMPLES - 1) * len(PROMPTS) * (longest - 1)
    # What cannot be shared is found out once, by reading the prompts.
    assert read == read_apart + (-saved if shares else len(PROMPTS) * (longest - 1))
    if not shares:
        assert count_read(together, requests)[0] == read_apart


def test_a_prompt_of_one_token_is_read_with_the_rest(tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    requests = asks(Sampling(samples=3, max_tokens=4), ["", "Name a fruit"])
    made = rows(engine, requests)
    assert min(len(ids) for ids in engine._encoder.encode_all(requests)) == 1
    for row in rows(open_engine(tiny_model, batch_size=1), requests).values():
        assert made[row.key].token_ids == row.token_ids


def open_engine(folder: Path, batch_size: int = 128) -> TransformersEngine:
    return TransformersEngine(parse_model(f"m={folder}"), batch_size=batch_size, device="cpu")


def count_read(engine: TransformersEngine, requests: list[Request]) -> tuple[int, dict[str, Any]]:
    """How many tokens went into the model, padding included, and the rows."""
    seen: list[int] = []
    embeddings = engine._model.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _, given: seen.append(given[0].numel()))
    made = rows(engine, requests)
    handle.remove()
    return sum(seen), made
