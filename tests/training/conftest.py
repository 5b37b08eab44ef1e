"""Tiny causal language models of several architectures, and rows to train them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tofu_eval.lab import data, world
from tofu_eval.lab.model import build_model, build_tokenizer

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 2}),
    "llama-tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"num_key_value_heads": 2, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {"num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8,
                                "final_logit_softcapping": 3.0, "sliding_window": 16}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
    "granite": ("GraniteConfig", {"logits_scaling": 4.0, "num_key_value_heads": 2}),
    "phi": ("PhiConfig", {}),  # a head with a bias
}  # fmt: skip


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """A model of an architecture with random weights, logits of a standard deviation near 1."""

    def make(name: str, **more: Any) -> Any:
        config_name, settings = ARCHITECTURES[name]
        config = getattr(transformers, config_name)(**{**SIZES, **settings, **more})
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(config)
            head = model.get_output_embeddings()
            torch.nn.init.normal_(head.weight, std=0.3)
            if getattr(head, "bias", None) is not None:
                torch.nn.init.normal_(head.bias)
        return model

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture
def small(tokenizer: Any) -> Any:
    """A one-layer Llama over the lab's words."""
    return build_model(tokenizer, width=32, layers=1, seed=0)


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, saved."""
    path = tmp_path_factory.mktemp("training") / "base"
    build_model(tokenizer, width=32, layers=1, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 prompts with completions of different lengths."""
    documents = data.sft_documents(0, world.SEEN[:12], 4)
    path = tmp_path_factory.mktemp("training") / "rows.jsonl"
    lines = [json.dumps({"prompt": d.prompt, "completion": d.answer}) for d in documents]
    path.write_text("\n".join(lines) + "\n")
    return path
