"""The transformers engine on a tiny model, and the files of one to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Response
from tofu_eval.engines.transformers import TransformersEngine


def open_tiny(ref: Path | str, **options: Any) -> TransformersEngine:
    """An engine with its model, so that what is wrong with that shows here."""
    engine = TransformersEngine(parse_model(f"m={ref}"), device="cpu", **options)
    _ = engine._loaded
    return engine


def ids_of(row: Response) -> tuple[int, ...]:
    assert row.token_ids is not None
    return row.token_ids


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def widened(model: Path, path: Path, vocabulary: int) -> Path:
    """The tiny model with far more tokens: what a response takes is nearly all logits."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(model, vocab_size=vocabulary, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(model).save_pretrained(path)
    return path
