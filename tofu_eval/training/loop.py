"""A short training loop for any Hugging Face causal language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import get_scheduler

from tofu_eval.errors import TrainingError
from tofu_eval.training.losses import LossReport, LossSpec, check_number, mean_loss
from tofu_eval.types import Report, no_report


@dataclass(frozen=True, slots=True)
class StepLog:
    """One optimiser step: its number from 1, and means per supervised token before the step.

    `cross_entropy` is in nats and comparable between losses, `loss` is not. `gradient_norm` is
    taken before clipping.
    """

    step: int
    loss: float
    cross_entropy: float
    mean_weight: float
    gradient_norm: float
    learning_rate: float


def train(
    model: Any,
    batches: Iterable[Mapping[str, Tensor]],
    spec: LossSpec,
    *,
    lr: float,
    steps: int,
    warmup: int = 0,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    report: Report = no_report,
    stage: str = "train",
) -> list[StepLog]:
    """Train `model` in place with AdamW; the learning rate rises, then falls as a cosine to 0.

    Deterministic: nothing here draws random numbers. A model with dropout draws from torch's
    generator, which the caller seeds.

    Args:
        model: a Hugging Face causal language model; parameters without gradient stay as they are.
        batches: at least `steps` dicts of (batch, tokens) integer tensors: `input_ids`,
            `attention_mask`, and `labels` that equal `input_ids` (unshifted), -100 where not
            trained on. More than `steps` are not asked for.
        spec: the loss.
        lr: peak learning rate, > 0.
        steps: optimiser steps, >= 1; one batch each.
        warmup: steps of linear rise, >= 0 and < steps.
        weight_decay: AdamW's, >= 0.
        clip: largest gradient norm, > 0.
        report: progress, called after each step.
        stage: the name that `report` shows.
    Returns: one StepLog a step.

    Raises:
        ConfigError: a setting is out of range.
        TrainingError: the loss or its gradient is not finite, a batch has no supervised token, or
            the batches end early. The model keeps the weights of the last good step.
    """
    _check(lr, steps, warmup, weight_decay, clip)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    logs: list[StepLog] = []
    was_training = model.training
    model.train()
    try:
        for step, batch in zip(range(1, steps + 1), batches, strict=False):
            means = _forward(model, batch, spec)
            _check_finite("loss", means.loss, step, steps)
            means.loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
            _check_finite("gradient norm", norm, step, steps)
            logs.append(_log(step, means, norm, schedule.get_last_lr()[0]))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            report(stage, step, steps)
    finally:
        model.zero_grad()
        model.train(was_training)
    if len(logs) < steps:
        raise TrainingError(
            f"The batches ended after step {len(logs)} of {steps}; "
            "give at least as many batches as steps."
        )
    return logs


def _forward(model: Any, batch: Mapping[str, Tensor], spec: LossSpec) -> LossReport:
    inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
    logits = model(**inputs, use_cache=False).logits
    # Unshifted labels: the logits at a token predict the next one.
    return mean_loss(spec, logits[:, :-1], batch["labels"][:, 1:].to(model.device))


def _log(step: int, means: LossReport, norm: Tensor, learning_rate: float) -> StepLog:
    return StepLog(
        step,
        means.loss.item(),
        means.cross_entropy.item(),
        means.mean_weight.item(),
        norm.item(),
        learning_rate,
    )


def _check_finite(what: str, value: Tensor, step: int, steps: int) -> None:
    if not math.isfinite(value.item()):
        raise TrainingError(
            f"Training stopped at step {step} of {steps}: the {what} is {value.item()}, "
            "expected a finite number. Try a smaller learning rate."
        )


def _check(lr: float, steps: int, warmup: int, weight_decay: float, clip: float) -> None:
    check_number("lr", lr, "> 0", lr > 0)
    check_number("steps", steps, ">= 1", steps >= 1)
    check_number("warmup", warmup, f">= 0 and < {steps} steps", 0 <= warmup < steps)
    check_number("weight_decay", weight_decay, ">= 0", weight_decay >= 0)
    check_number("clip", clip, "> 0", clip > 0)
