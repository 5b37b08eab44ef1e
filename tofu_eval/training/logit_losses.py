"""Every loss on logits, in plain PyTorch: what the fused implementation is measured against.

Labels are aligned with the logits: `labels[..., t]` is the token that `logits[..., t, :]` predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from tofu_eval.core.errors import PluginError, TofuEvalError, TrainingError, say_error
from tofu_eval.core.memory import is_out_of_memory
from tofu_eval.training.losses import Factor, LossSpec, TokenStats

IGNORE = -100
"""The label of a token that is not trained on, as in torch and transformers."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where each token stands: position in its completion and the completion's length.

    Two integer tensors of the labels' shape; values at ignored labels mean nothing.
    """

    position: Tensor
    length: Tensor


def completion_places(labels: Tensor, documents: Tensor | None = None) -> Places:
    """Count supervised tokens, so that prompts, padding and packing do not matter.

    Args:
        labels: (..., tokens) integers, aligned with the logits.
        documents: for packed rows, (..., tokens) integers that start at 0 and never fall along a
            row: which document holds the token. By default a row is one document.
    """
    supervised = (labels != IGNORE).long()
    if documents is None:
        documents = torch.zeros_like(supervised)
    totals = torch.zeros_like(supervised).scatter_add(-1, documents, supervised)
    before = (totals.cumsum(-1) - totals).gather(-1, documents)
    return Places(supervised.cumsum(-1) - 1 - before, totals.gather(-1, documents))


@dataclass(frozen=True, slots=True)
class LossReport:
    """Three numbers per supervised token; `loss` carries the gradient.

    `cross_entropy` (nats) is what can be compared between losses; `mean_weight` is the mean w.
    """

    loss: Tensor
    cross_entropy: Tensor
    mean_weight: Tensor


def token_losses(
    spec: LossSpec,
    logits: Tensor,
    labels: Tensor,
    *,
    places: Places | None = None,
    reference: Tensor | None = None,
) -> Tensor:
    """The loss of each token, 0 where the label is -100.

    Args:
        spec: the loss.
        logits: (..., tokens, vocabulary); float16 and bfloat16 are computed in float32.
        labels: (..., tokens) integers, aligned: `labels[..., t]` is what `logits[..., t, :]`
            predicts.
        places: from `completion_places`; needed for packed rows only.
        reference: (..., tokens), a reference model's log-probability of each label, for the
            losses that look at one.
    Returns: (..., tokens), at least float32, in nats times w.

    Raises:
        TrainingError: the shapes do not fit.
    """
    supervised = labels != IGNORE
    losses, _, _ = _supervised_losses(spec, logits, labels, places, reference)
    return torch.zeros_like(labels, dtype=losses.dtype).masked_scatter(supervised, losses)


def mean_loss(
    spec: LossSpec,
    logits: Tensor,
    labels: Tensor,
    *,
    places: Places | None = None,
    reference: Tensor | None = None,
    num_items: int | None = None,
) -> LossReport:
    """The loss per supervised token, with plain cross-entropy beside it.

    Args:
        spec, logits, labels, places, reference: as in `token_losses`.
        num_items: what to divide by, when the batch is a part of a larger one: the larger one's
            supervised tokens. The parts' reports then add up to the whole's.

    Raises:
        TrainingError: the shapes do not fit, or there is nothing to divide by.
    """
    losses, log_p, weight = _supervised_losses(spec, logits, labels, places, reference)
    items = items_of(losses.numel(), num_items)
    return LossReport(losses.sum() / items, -log_p.sum() / items, weight.sum() / items)


def items_of(supervised: int, num_items: int | None) -> int:
    """What a batch's sums are divided by: `num_items`, or else its supervised tokens.

    Raises:
        TrainingError: that is nothing.
    """
    items = supervised if num_items is None else num_items
    if items < 1:
        raise TrainingError(
            "A batch has no supervised token: every label is -100. "
            "Leave out empty completions, or cut prompts so that the completion fits."
        )
    return items


def token_factors(spec: LossSpec, stats: TokenStats) -> tuple[Tensor, Tensor | None]:
    """The weights w of a loss, and c of its entropy term where it has one.

    Returns: (tokens,) each, to be held constant.

    Raises:
        TrainingError: the loss does not give one number a token.
        PluginError: it fails.
    """
    weight = _one_each(spec, "weights", spec.weight, stats)
    if spec.entropy is None:
        return weight, None
    return weight, _one_each(spec, "entropy factors", spec.entropy, stats)


def _one_each(spec: LossSpec, what: str, factor: Factor, stats: TokenStats) -> Tensor:
    values = _ask(spec, what, factor, stats)
    if values.shape != stats.log_p.shape:
        raise TrainingError(
            f"The loss '{spec.name}' gives {what} of shape {tuple(values.shape)}; expected one a "
            f"token, {tuple(stats.log_p.shape)}."
        )
    # A mask is a weight too.
    return values if values.is_floating_point() else values.to(stats.log_p.dtype)


def _ask(spec: LossSpec, what: str, function: Callable[..., object], *given: object) -> Tensor:
    try:
        values = function(*given)
    except Exception as error:  # a user's function may fail in any way
        if isinstance(error, TofuEvalError) or is_out_of_memory(error):
            raise
        raise PluginError(
            f"The loss '{spec.name}' failed to give {what}: {type(error).__name__}: "
            f"{say_error(error)}. Mend it, or run with --debug to see where."
        ) from error
    if not isinstance(values, Tensor):
        raise TrainingError(
            f"The loss '{spec.name}' gives {what} that are a {type(values).__name__}; expected a "
            "tensor."
        )
    return values


def target_distribution(spec: LossSpec, log_q: Tensor, y: Tensor) -> Tensor | None:
    """What softmax(z/β) is drawn to, or None where that is the label alone.

    Args:
        spec: the loss.
        log_q: (tokens, V), log softmax(z/β).
        y: (tokens,), the labels.

    Raises:
        TrainingError: the loss gives no distribution over the same tokens.
        PluginError: it fails.
    """
    if spec.target is None:
        return None
    wanted = _ask(spec, "targets", spec.target, log_q, y)
    if wanted.shape != log_q.shape:
        raise TrainingError(
            f"The loss '{spec.name}' gives targets of shape {tuple(wanted.shape)}; expected "
            f"distributions of shape {tuple(log_q.shape)}."
        )
    return wanted


def expected_log(wanted: Tensor, log_q: Tensor) -> Tensor:
    """The sum of wanted · log q over the vocabulary; where nothing is wanted, nothing is added."""
    return torch.where(wanted == 0, 0.0, wanted * log_q).sum(-1)


def check_reference(spec: LossSpec, reference: Tensor | None, labels: Tensor) -> None:
    """Refuse a loss without the reference that it looks at, or one of another shape.

    Raises:
        TrainingError: as said.
    """
    if not spec.reference:
        return
    if reference is None:
        raise TrainingError(
            f"The loss '{spec.name}' looks at a reference model, and there is none. "
            "Give reference=: its log-probability of each label."
        )
    if reference.shape != labels.shape:
        raise TrainingError(
            f"The reference's shape {tuple(reference.shape)} does not fit the labels' shape "
            f"{tuple(labels.shape)}; expected the same."
        )


def _supervised_losses(
    spec: LossSpec,
    logits: Tensor,
    labels: Tensor,
    places: Places | None,
    reference: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, log p and weight of the supervised tokens only, flat; the last two are constants."""
    if logits.shape[:-1] != labels.shape:
        raise TrainingError(
            f"The logits' shape {tuple(logits.shape)} does not fit the labels' shape "
            f"{tuple(labels.shape)}; expected {(*labels.shape, 'vocabulary')}."
        )
    check_reference(spec, reference, labels)
    supervised = labels != IGNORE
    places = places or completion_places(labels)
    # Picking the tokens first keeps whatever stands in the padding, even NaN, out of everything.
    z = logits[supervised]
    z, y = z.to(torch.promote_types(z.dtype, torch.float32)), labels[supervised]
    with torch.no_grad():
        log_p = -cross_entropy(z, y, reduction="none")
        log_q = log_softmax(z, dim=-1)
        stats = TokenStats(
            log_p,
            places.position[supervised].to(z.dtype),
            places.length[supervised].to(z.dtype),
            entropy_of(log_q),
            log_q.exp().square().sum(-1),
            log_q.topk(spec.top).values,
            reference[supervised].to(z.dtype) if spec.reference and reference is not None else None,
        )
        weight, factor = token_factors(spec, stats)
        wanted = target_distribution(spec, log_softmax(z / spec.temperature, dim=-1), y)
    if wanted is None:
        tempered = cross_entropy(z / spec.temperature, y, reduction="none")
    else:
        tempered = -expected_log(wanted, log_softmax(z / spec.temperature, dim=-1))
    losses = weight * spec.temperature * tempered
    if factor is not None:
        losses = losses - factor * entropy_of(log_softmax(z, dim=-1))
    return losses, log_p, weight


def entropy_of(log_q: Tensor) -> Tensor:
    """In nats; a logit of -inf has no part in it."""
    finite = log_q.clamp(min=torch.finfo(log_q.dtype).min)  # 0 · -inf is NaN
    return -(finite.exp() * finite).sum(-1)
