"""Every loss straight from hidden states and the LM head, without ever holding the full logits.

A tile is the logits of a few tokens over the whole vocabulary. While it is there it gives the loss
and the gradient w · (softmax(z/β) - onehot(y)), which goes at once into the gradients of hidden
states and head; then the tile is dropped. So the forward pass does all the work, the backward pass
only multiplies by the gradient that comes from above, and no logit is computed twice.

The losses themselves are in `losses.py`. Nothing here knows one from another. On CUDA the tile is
worked on by the two Triton kernels in `kernels.py`, elsewhere by PyTorch.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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
    expected_log,
    items_of,
    target_distribution,
    token_factors,
)
from tofu_eval.training.losses import LossSpec, TokenStats, check_number

TILE = 2**25
"""Logits in a tile: 128 MiB in float32. PyTorch holds two of them at a time, one more with each of
a soft-cap, an entropy term and a target of its own; the kernels one, in the product's dtype."""


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
    chunk: int | None = None,
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
        chunk: tokens a tile, >= 1; by default what makes up to `TILE` logits.

    Raises:
        TrainingError: shapes or labels do not fit, there is nothing to divide by, or a token's
            weight depends on other tokens.
        ConfigError: a setting is out of range.
    """
    places = places or completion_places(labels)
    _check_shapes(hidden, weight, bias, labels, places)
    check_reference(spec, reference, labels)
    # In blocks of 64, which matrix units are made for.
    chunk = max(64, TILE // len(weight) // 64 * 64) if chunk is None else chunk
    check_number("chunk", chunk, ">= 1", chunk >= 1)
    check_number("scale", scale, "other than 0", scale != 0)
    if softcap is not None:
        check_number("softcap", softcap, "> 0", softcap > 0)
    supervised = labels != IGNORE
    y = labels[supervised].long()
    known = [places.position[supervised], places.length[supervised]]
    if spec.reference and reference is not None:
        known.append(reference[supervised])
    _check_labels(y, len(weight))
    items = items_of(len(y), num_items)
    job = _Job(spec, y, tuple(known), softcap, scale, chunk, torch.is_grad_enabled())
    total, others = _loss_sum(hidden[supervised], weight, bias, job)
    return FusedReport(total / items, *(others / items).unbind())


@dataclass(frozen=True, slots=True)
class _Job:
    """What the tiles need besides the three tensors that may want a gradient."""

    spec: LossSpec
    y: Tensor
    known: tuple[Tensor, ...]  # position, length and, where the loss asks for it, the reference
    softcap: float | None
    scale: float
    chunk: int
    grad_enabled: bool  # inside an autograd function torch itself always says False


class _LossSum(torch.autograd.Function):  # type: ignore[misc]
    """(tokens, H), (V, H), (V,) or None -> the summed loss, and four sums without gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, job: _Job
    ) -> tuple[Tensor, Tensor]:
        inputs, device = (hidden, weight, bias), hidden.device.type
        autocast = torch.is_autocast_enabled(device)
        matmul_dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        grads = [
            torch.zeros_like(x, dtype=dtype) if needed and job.grad_enabled else None
            for x, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        rows = torch.empty(ROWS + job.spec.top, len(hidden), dtype=dtype, device=hidden.device)
        tile = _way(hidden.device, matmul_dtype, job.spec)
        with torch.autocast(device, enabled=False):
            head = weight.to(matmul_dtype)
            for start in range(0, len(hidden), job.chunk):
                part = slice(start, start + job.chunk)
                h = hidden[part].to(matmul_dtype)
                rows[:, part], grad = tile(torch.mm(h, head.t()), bias, part, job)
                if grads[0] is not None:
                    grads[0][part] = torch.mm(grad.to(matmul_dtype), head)
                if grads[1] is not None:
                    _add_product(grads[1], grad.t(), h)
                if grads[2] is not None:
                    grads[2] += grad.sum(0, dtype=dtype)
                del grad  # before the next tile is made
        _check_factors(rows, job)
        ctx.save_for_backward(*grads)
        ctx.dtypes = [x.dtype if x is not None else None for x in inputs]
        total, others, _ = rows.sum(1).tensor_split([1, 5])
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


# Not traced: the number of tiles changes with every batch, and each would be compiled anew.
_loss_sum = torch.compiler.disable(_LossSum.apply)


Tile = Callable[[Tensor, Tensor | None, slice, _Job], tuple[Tensor, Tensor]]
"""Turns hidden @ weight.T of some tokens, which may be overwritten, into what the sums are made of.

Returns: (ROWS + top, tokens), at least float32, of each token the loss, cross-entropy, weight,
    entropy and hit, Σ p², the factor of the entropy term and the largest log-probabilities; and
    (tokens, V), the loss's gradient by what came in.
"""

ROWS = 7
"""Numbers of a token that every loss has."""


def _way(device: torch.device, dtype: torch.dtype, spec: LossSpec) -> Tile:
    """How tiles of products of this dtype are worked on; both ways give the same."""
    in_torch = spec.target is not None or spec.top > 0  # functions of the whole tile
    if device.type != "cuda" or dtype == torch.float64 or in_torch:
        return _tile
    if not _has_triton():
        warnings.warn(
            "Triton is not installed, so the fused loss works in plain PyTorch: the result is the "
            "same, but it takes more time and memory. Install it: pip install triton",
            stacklevel=2,
        )
        return _tile
    return _tile_in_triton


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _tile_in_triton(
    product: Tensor, bias: Tensor | None, part: slice, job: _Job
) -> tuple[Tensor, Tensor]:
    from tofu_eval.training import kernels

    spec = job.spec
    logits = kernels.Logits(
        product, job.y[part], bias, job.scale, job.softcap, temperature=spec.temperature
    )
    log_p, tempered, entropy, collision, hit, *softmax = kernels.read(logits)
    none = log_p.new_empty(len(log_p), 0)
    weight, factor = token_factors(spec, _stats(log_p, entropy, collision, none, part, job))
    loss = -weight * spec.temperature * tempered
    if factor is not None:
        loss -= factor * entropy
    kept = torch.zeros_like(loss) if factor is None else factor
    rows = torch.stack([loss, -log_p, weight, entropy, hit, collision, kept])
    return rows, kernels.overwrite(logits, weight, factor, entropy, *softmax)


def _tile(z: Tensor, bias: Tensor | None, part: slice, job: _Job) -> tuple[Tensor, Tensor]:
    spec, target = job.spec, job.y[part, None]
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    if bias is not None:
        z += bias
    if job.scale != 1:
        z *= job.scale
    if job.softcap is not None:
        z.div_(job.softcap).tanh_()
        slope = 1 - z.square()
        z *= job.softcap
    log_q = _log_softmax_(z)
    log_p = log_q.gather(1, target).squeeze(1)
    log_q.clamp_(min=torch.finfo(log_q.dtype).min)  # 0 · -inf is NaN
    p = log_q.exp()
    entropy = -torch.einsum("tv,tv->t", p, log_q)  # vecdot would make a third tile
    collision = torch.einsum("tv,tv->t", p, p)
    hit = (log_p == log_q.amax(-1)).to(z.dtype)
    top = log_q.topk(spec.top).values if spec.top else log_p.new_empty(len(log_p), 0)
    weight, factor = token_factors(spec, _stats(log_p, entropy, collision, top, part, job))
    more = None
    if factor is not None:
        more = p.mul_(log_q + entropy[:, None]).mul_(factor[:, None])
    del p
    tempered = log_p
    if spec.temperature != 1:
        # softmax(z/β) = softmax(log softmax(z) / β): the logits themselves are not needed again.
        log_q = _log_softmax_(log_q.div_(spec.temperature))
        tempered = log_q.gather(1, target).squeeze(1)
    wanted = target_distribution(spec, log_q, job.y[part])
    if wanted is not None:
        tempered = expected_log(wanted, log_q)
        grad = log_q.exp_().sub_(wanted).mul_(weight[:, None])
    else:
        grad = log_q.exp_().mul_(weight[:, None]).scatter_add_(1, target, -weight[:, None])
    loss = -weight * spec.temperature * tempered
    kept = torch.zeros_like(loss)
    if factor is not None and more is not None:
        grad += more
        loss, kept = loss - factor * entropy, factor
    rows = torch.stack([loss, -log_p, weight, entropy, hit, collision, kept, *top.unbind(1)])
    if job.scale != 1:
        grad *= job.scale
    return rows, grad.mul_(slope) if job.softcap is not None else grad


def _stats(
    log_p: Tensor, entropy: Tensor, collision: Tensor, top: Tensor, part: slice, job: _Job
) -> TokenStats:
    position, length, *reference = (x[part].to(log_p.dtype) for x in job.known)
    return TokenStats(log_p, position, length, entropy, collision, top, *reference)


def _log_softmax_(z: Tensor) -> Tensor:
    """In place. Torch's own sums a row naively on a CPU, and is off by 5e-5 at V = 128,256."""
    z.sub_(z.amax(-1, keepdim=True))
    return z.sub_(z.exp().sum(-1, keepdim=True).log_())


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right without rounding the product to half precision before it is added."""
    if total.is_cuda and right.dtype in (torch.float16, torch.bfloat16):
        torch.addmm(total, left.to(right.dtype), right, out_dtype=torch.float32, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _check_factors(rows: Tensor, job: _Job) -> None:
    """A weight that looks at other tokens would change with the tiles, without a word."""
    _, cross_entropy, weight, entropy, _, collision, factor, *top = rows
    largest = torch.stack(top, 1) if top else weight.new_empty(len(weight), 0)
    stats = _stats(-cross_entropy, entropy, collision, largest, slice(None), job)
    again = token_factors(job.spec, stats)
    for whole, made in zip(again, (weight, factor), strict=True):
        if whole is None:
            continue
        differs = ~torch.isclose(whole, made, rtol=1e-3, equal_nan=True)
        # Not a single one: where a weight jumps, the last bit of log p may put a token on either
        # side.
        if differs.sum() > 0.01 * len(whole):
            raise TrainingError(
                f"The loss '{job.spec.name}' gives tokens weights that depend on other tokens; "
                "expected each to depend on its own token only. Use mean_loss on the full logits."
            )


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
