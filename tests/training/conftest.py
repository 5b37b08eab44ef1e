"""Tiny causal language models of several architectures, and the settings of a short training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.architectures import ARCHITECTURES, SIZES

from tofu_eval.lab.model import build_model

FIELDS = {
    "loss": "tofu", "format": "base", "learning_rate": 1e-3, "max_steps": 12, "logging_steps": 1,
    "per_device_train_batch_size": 4, "save_steps": 5, "gradient_checkpointing": False,
}  # fmt: skip
"""What every training here is asked for, unless it says otherwise."""


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


@pytest.fixture
def fields(base: Path, rows: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a training on a tiny model."""
    return {**FIELDS, "model": str(base), "data": str(rows), "output": tmp_path / "out"}
