"""Losses, the trainer that computes them fused, and `train`; imported when a name is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tofu_eval.training.fused import FusedReport, fused_loss
    from tofu_eval.training.hf_trainer import tofu_loss, trainer_loss
    from tofu_eval.training.job import TrainResult, train
    from tofu_eval.training.logit_losses import (
        LossReport,
        completion_places,
        mean_loss,
        token_losses,
    )
    from tofu_eval.training.losses import LOSSES, LossSpec, TokenStats, loss
    from tofu_eval.training.settings import TrainSettings, train_settings
    from tofu_eval.training.sft import FusedSFTTrainer
    from tofu_eval.training.watch import DiversityCallback

_HOMES = {
    "fused": ("FusedReport", "fused_loss"),
    "hf_trainer": ("tofu_loss", "trainer_loss"),
    "job": ("TrainResult", "train"),
    "logit_losses": ("LossReport", "completion_places", "mean_loss", "token_losses"),
    "losses": ("LOSSES", "LossSpec", "TokenStats", "loss"),
    "settings": ("TrainSettings", "train_settings"),
    "sft": ("FusedSFTTrainer",),
    "watch": ("DiversityCallback",),
}

__all__ = [
    "LOSSES",
    "DiversityCallback",
    "FusedReport",
    "FusedSFTTrainer",
    "LossReport",
    "LossSpec",
    "TokenStats",
    "TrainResult",
    "TrainSettings",
    "completion_places",
    "fused_loss",
    "loss",
    "mean_loss",
    "tofu_loss",
    "token_losses",
    "train",
    "train_settings",
    "trainer_loss",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"tofu_eval.training.{home}"), name)
    raise AttributeError(f"module 'tofu_eval.training' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
