"""Every loss straight from hidden states and the LM head, without ever holding the full logits.

A tile is the logits of a few tokens over the whole vocabulary. While it is there it gives the loss
and the gradient w · (softmax(z/β) - onehot(y)), which goes at once into the gradients of hidden
states and head; then the tile is dropped. So the forward pass does all the work, the backward pass
only multiplies by the gradient that comes from above, and no logit is computed twice.

The losses themselves are in `losses.py`, and nothing here knows one from another. What is done to
a tile is in `tiles.py`, the gradient's products in `products.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.logit_losses import (
    IGNORE,
    LossReport,
    Places,
    check_reference,
    completion_places,
    items_of,
)
from tofu_eval.training.loss_probes import check_alone, drops_most, looks_at_collision
from tofu_eval.training.losses import LossSpec, check_number
from tofu_eval.training.products import Gradients, Part, add_products
from tofu_eval.training.tiles import ROWS, Job, choose_tile, exact_dtype, target_logits

CPU_TILE = 2**25
"""Logits in a tile on a CPU: 128 MiB in float32, which is all that is there of them at a time."""

CUDA_ROWS = 2048
"""Tokens in a tile on CUDA, at most: each tile reads the head twice and its gradient once."""

CUDA_SHARE = 64
"""The part of the device's memory that a tile may take there: one of so many."""

STRIDE = 16
"""What a row of a tile is padded to a multiple of, so that each begins where matrix units read."""


@dataclass(frozen=True, slots=True)
class FusedReport(LossReport):
    """Means per supervised token; `loss` carries the gradient.

    `entropy` is that of the model's next-token distribution at temperature 1, in nats; `accuracy`
    the share of tokens in [0, 1] whose logit is the largest, ties included.
    """

    entropy: Tensor
    accuracy: Tensor


def fused_loss(
    spec: LossSpec,
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    scale: float = 1.0,
    places: Places | None = None,
    reference: Tensor | None = None,
    num_items: int | None = None,
    supervised: Tensor | None = None,
    chunk: int | None = None,
    skip: bool | None = None,
) -> FusedReport:
    """The loss per supervised token from the last hidden states and the LM head.

    Equals `mean_loss(spec, logits, labels)` with logits = softcap · tanh(u / softcap) and
    u = scale · (hidden @ weight.T + bias). Under autocast the products are in its dtype, as in
    `torch.nn.Linear`; softmax, sums and gradients are in float32 at least. A second backward pass
    through the same loss is torch's RuntimeError.

    Args:
        spec: the loss; a token's weight may depend on that token's TokenStats only.
        hidden: (tokens, H) or (batch, tokens, H) floats; what the head is applied to.
        weight: (V, H), the head. If it is frozen its gradient is neither computed nor stored.
        labels: hidden's shape without H, integers: `labels[..., t]` is the token that
            `hidden[..., t, :]` predicts. Where it is -100 nothing is computed.
        bias: (V,), the head's.
        softcap: > 0, the bound of soft-capped logits (Gemma's `final_logit_softcapping`).
        scale: not 0, a factor on the logits before the soft-cap (Cohere's `logit_scale`).
        places: from `completion_places`; needed for packed rows only.
        reference: of the labels' shape, a reference model's log-probability of each label, for
            the losses that look at one.
        num_items: what to divide by, when the batch is a part of a larger one: the larger one's
            supervised tokens. The parts' reports then add up to the whole's.
        supervised: where among all labels, flat, those stand that are not -100. With it nothing
            here waits for a device: a label outside the vocabulary, else an error, gives a loss
            that is NaN there.
        chunk: tokens a tile, >= 1; by default chosen from the device.
        skip: on CUDA in half precision, whether the products leave out blocks of the gradient
            that are below the dtype's resolution; by default where the loss gives most tokens the
            weight 0. A CPU leaves out those tokens anyway.

    Raises:
        TrainingError: shapes or labels do not fit, there is nothing to divide by, or a token's
            weight depends on other tokens.
        ConfigError: a setting is out of range.
    """
    places = places or completion_places(labels)
    _check_shapes(hidden, weight, bias, labels, places)
    check_reference(spec, reference, labels)
    if chunk is None:
        chunk = rows_of_tile(hidden.device, _product_dtype(hidden), len(weight))
    check_number("chunk", chunk, ">= 1", chunk >= 1)
    check_number("scale", scale, "other than 0", scale != 0)
    if softcap is not None:
        check_number("softcap", softcap, "> 0", softcap > 0)
    index = supervised
    if index is None:
        index = (labels.flatten() != IGNORE).nonzero().squeeze(1)
    y, *known = (
        x.flatten().index_select(0, index)
        for x in (labels, places.position, places.length, *_needed(spec, reference))
    )
    if supervised is None or not y.is_cuda:
        _check_labels(y, len(weight))
    items = items_of(len(y), num_items)
    inputs = hidden.flatten(0, -2).index_select(0, index), weight, bias
    wants_grad = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    job = Job(spec, y.long(), tuple(known), softcap, scale, chunk, wants_grad, skip)
    loss_sum = _untraced_loss_sum() if torch.compiler.is_compiling() else _loss_sum
    total, others = loss_sum(*inputs, job)
    return FusedReport(total / items, *(others / items).unbind())


def _needed(spec: LossSpec, reference: Tensor | None) -> list[Tensor]:
    return [reference] if spec.reference and reference is not None else []


def rows_of_tile(device: torch.device, dtype: torch.dtype, vocabulary: int) -> int:
    """Tokens a tile, from the device: many enough for its products, few enough for its memory."""
    rows = CPU_TILE // vocabulary
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        rows = min(CUDA_ROWS, memory // CUDA_SHARE // (vocabulary * dtype.itemsize))
    return max(64, rows // 64 * 64)  # blocks that matrix units are made for


def _skips(device: torch.device, dtype: torch.dtype, job: Job) -> bool:
    """Looking for what can be left out is worth its time where that is surely most of it.

    In float32 the kernels' products do not fit the registers, whatever they leave out, and before
    compute capability 8.0 there are no matrix units that Triton knows how to feed.
    """
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    wanted = drops_most(job.spec, device) if job.skip is None else job.skip
    return wanted and torch.cuda.get_device_capability(device) >= (8, 0)


def _product_dtype(hidden: Tensor) -> torch.dtype:
    device = hidden.device.type
    if hidden.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return hidden.dtype  # autocast leaves float64 as it is
    return torch.get_autocast_dtype(device)


class _LossSum(torch.autograd.Function):  # type: ignore[misc]
    """(tokens, H), (V, H), (V,) or None -> the summed loss, and four sums without gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, job: Job
    ) -> tuple[Tensor, Tensor]:
        inputs, device = (hidden, weight, bias), hidden.device
        matmul_dtype = _product_dtype(hidden)
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        grads = [
            torch.zeros_like(x, dtype=dtype) if needed and job.wants_grad else None
            for x, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        exact = exact_dtype(device, dtype)
        rows = torch.empty(ROWS + job.spec.top, len(hidden), dtype=exact, device=device)
        tile = choose_tile(device, matmul_dtype, job.spec)
        vocabulary = len(weight)
        stride = -(-vocabulary // STRIDE) * STRIDE
        tokens = min(job.chunk, len(hidden))
        padded = torch.empty(tokens, stride, dtype=matmul_dtype, device=device)
        padded[:, vocabulary:] = 0  # bfloat16 products on a CPU read it, and 0 · NaN is NaN
        buffer = padded[:, :vocabulary]
        with torch.autocast(device.type, enabled=False):
            head = weight.to(matmul_dtype)
            for start in range(0, len(hidden), job.chunk):
                part = slice(start, start + job.chunk)
                h = hidden[part].to(matmul_dtype)
                product = torch.mm(h, head.t(), out=buffer[: len(h)])
                own = target_logits(h, head, bias, job.y[part], job)
                report = tile(product, bias, own, part, job)
                rows[:, part] = report.rows
                if job.wants_grad:
                    add_products(Gradients(*grads), Part(part, product, h, head, report))
        ctx.save_for_backward(*grads)
        ctx.dtypes = [x.dtype if x is not None else None for x in inputs]
        total, others, _ = rows.sum(1).to(dtype).tensor_split([1, 5])
        ctx.mark_non_differentiable(others)
        return total.squeeze(0), others

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        # In place, or the head's gradient would be there twice; torch refuses to do it again.
        return *(
            grad.mul_(upstream).to(dtype) if grad is not None else None
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ), None


def _loss_sum(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, job: Job
) -> tuple[Tensor, Tensor]:
    skip = _skips(hidden.device, _product_dtype(hidden), job)
    collides = looks_at_collision(job.spec, hidden.device)
    job = replace(job, skip=skip, collides=collides)
    total, others = _LossSum.apply(hidden, weight, bias, job)
    check_alone(job.spec, hidden.device)
    return total, others


_UNTRACED: list[Callable[..., tuple[Tensor, Tensor]]] = []


def _untraced_loss_sum() -> Callable[..., tuple[Tensor, Tensor]]:
    """`_loss_sum` for compilers: the number of tiles changes with every batch, and each would be
    compiled anew. Made when a compiler asks, since `disable` imports the compiler, for seconds."""
    if not _UNTRACED:
        _UNTRACED.append(torch.compiler.disable(_loss_sum))
    return _UNTRACED[0]


def _check_shapes(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, places: Places
) -> None:
    if hidden.shape[:-1] != labels.shape:
        raise TrainingError(
            f"The hidden states' shape {tuple(hidden.shape)} does not fit the labels' shape "
            f"{tuple(labels.shape)}; expected {(*labels.shape, 'H')}."
        )
    if weight.dim() != 2 or weight.shape[1] != hidden.shape[-1]:
        raise TrainingError(
            f"The head's shape {tuple(weight.shape)} does not fit the hidden states' shape "
            f"{tuple(hidden.shape)}; expected {('V', hidden.shape[-1])}."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise TrainingError(
            f"The bias's shape {tuple(bias.shape)} does not fit the head's shape "
            f"{tuple(weight.shape)}; expected {tuple(weight.shape[:1])}."
        )
    if places.position.shape != labels.shape or places.length.shape != labels.shape:
        raise TrainingError(
            f"The places' shape {tuple(places.position.shape)} does not fit the labels' shape "
            f"{tuple(labels.shape)}; expected the same. Use completion_places(labels)."
        )


def _check_labels(y: Tensor, vocabulary: int) -> None:
    outside = y[(y < 0) | (y >= vocabulary)]
    if len(outside):
        raise TrainingError(
            f"A label is {outside[0].item()}; expected -100 or a token of the head, 0 to "
            f"{vocabulary - 1}. Use the tokenizer that belongs to the model."
        )
