"""Losses and the loop that trains with them; torch is imported when a name is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tofu_eval.training.loop import StepLog, train
    from tofu_eval.training.losses import LOSSES, LossSpec, TokenStats, loss

_HOMES = {
    "LOSSES": "tofu_eval.training.losses",
    "LossSpec": "tofu_eval.training.losses",
    "StepLog": "tofu_eval.training.loop",
    "TokenStats": "tofu_eval.training.losses",
    "loss": "tofu_eval.training.losses",
    "train": "tofu_eval.training.loop",
}

__all__ = ["LOSSES", "LossSpec", "StepLog", "TokenStats", "loss", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tofu_eval.training' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
