"""The losses for trainers that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import LossSpec, tofu


def trainer_loss(spec: LossSpec) -> Callable[..., Tensor]:
    """A loss for the argument `compute_loss_func` of transformers' Trainer.

    It takes the full logits, which the Trainer's model makes anyway; `FusedSFTTrainer` does
    without them.

    Args:
        spec: the loss.
    Returns: `f(outputs, labels, num_items_in_batch=None)`, where outputs has `logits` (batch,
        tokens, V) or is a dict of that, and labels are in the Hugging Face convention (unshifted,
        -100 where not learnt). Its value is per supervised token of the whole accumulated batch.

    Raises:
        TrainingError: (when called) the shapes do not fit, or nothing is supervised.
    """

    def compute(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs.logits
        items = None if num_items_in_batch is None else int(torch.as_tensor(num_items_in_batch))
        targets = labels[..., 1:].to(logits.device)
        return mean_loss(spec, logits[..., :-1, :], targets, num_items=items).loss

    return compute


def tofu_loss(gamma: float = 3.0, beta: float = 0.8) -> Callable[..., Tensor]:
    """TOFU for the argument `compute_loss_func` of transformers' Trainer.

    Args:
        gamma: γ >= 0 and
        beta: β > 0, as in `tofu`.
    Returns: see `trainer_loss`.

    Raises:
        ConfigError: a setting is out of range.
    """
    return trainer_loss(tofu(gamma, beta))
