"""Tiny causal language models of several architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from support.architectures import ARCHITECTURES, SIZES

from tofu_eval.lab.model import build_model


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


@pytest.fixture
def small(tokenizer: Any) -> Any:
    """A one-layer Llama over the lab's words."""
    return build_model(tokenizer, width=32, layers=1, seed=0)
