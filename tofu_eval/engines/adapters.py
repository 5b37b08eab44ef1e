"""Adapters for vLLM: which it can serve beside their base, and merging those into it.

A bad adapter makes vLLM raise, and the next call of that engine hangs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tofu_eval.core.bounded import read_bounded
from tofu_eval.core.errors import ModelError
from tofu_eval.core.models import ResolvedModel
from tofu_eval.core.scratch import make_scratch

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `max_lora_rank` may be."""


def check_adapter(folder: Path, name: str) -> None:
    """Refuse an adapter that vLLM cannot serve.

    Raises:
        ModelError: it is no LoRA, has whole modules or biases of its own, is a DoRA, or its rank
            is above 512.
    """
    config = _config(folder)
    reasons = {
        f"it is a {config.get('peft_type')}, not a LoRA": config.get("peft_type") != "LORA",
        f"it has modules_to_save={config.get('modules_to_save')}": config.get("modules_to_save"),
        "it is a DoRA": config.get("use_dora"),
        f"it trains biases (bias={config.get('bias')!r})": config.get("bias", "none") != "none",
        f"its rank is {_rank(config)}, at most {RANKS[-1]} can be served": _rank(config)
        > RANKS[-1],
    }
    for reason, holds in reasons.items():
        if holds:
            raise ModelError(
                f"vLLM cannot serve the adapter of '{name}' ({folder}): {reason}. Use "
                "--engine-arg adapters=merged, or --engine transformers."
            )


def lora_rank(folders: Sequence[Path]) -> int:
    """The least `max_lora_rank` that holds all of these adapters."""
    most = max(_rank(_config(folder)) for folder in folders)
    return next(rank for rank in RANKS if rank >= most)


def merge(resolved: ResolvedModel, name: str, dtype: str, *, trust_remote_code: bool) -> Path:
    """Save a model with its adapter merged into the weights, in a new folder of `make_scratch`.

    Raises:
        ModelError: the model or the adapter cannot be loaded, or the disk is full.
    """
    import torch

    from tofu_eval.engines.loading import explain_failure, load, silence_transformers

    model, _ = load(
        resolved, name, device=torch.device("cpu"), dtype=dtype, trust_remote_code=trust_remote_code
    )
    folder = make_scratch()
    with (
        explain_failure(
            f"The adapter of '{name}' cannot be merged into {folder}", "Make room there."
        ),
        silence_transformers(),
    ):
        model.merge_and_unload().save_pretrained(folder)
    return folder


def _rank(config: dict[str, Any]) -> int:
    return max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_config.json"
    try:
        config = json.loads(read_bounded(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"Cannot read {path}: {error}. Save the adapter again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not an adapter's configuration. Save the adapter again.")
    return config
