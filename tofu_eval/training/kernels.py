"""What `tiles.py` does to a tile of logits, as two Triton kernels: one reads it, one overwrites it.

Imported only for tensors on CUDA. The tile stays in the dtype of the matrix product that made it;
all arithmetic is in float32. Between the two stands the loss's own weight function, in torch on one
number a token, so that no loss needs a kernel.
"""

# Triton would look up what annotates an argument.
# ruff: noqa: ANN001, ANN202
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096
"""Logits that a program holds at a time: 16 in each of its 256 threads."""

WARPS = 8

COLUMNS = 128
"""Columns of the gradient that are left out of its products together."""


@dataclass(frozen=True, slots=True)
class Logits:
    """z = softcap · tanh(u / softcap), u = scale · (product + bias), never stored as such.

    Args:
        product: (tokens, V), whose rows may lie apart; float16, bfloat16 or float32.
        target: (tokens,) int64 in [0, V), contiguous.
        bias: (V,) or None.
        softcap: > 0, or None for z = u.
        temperature: β > 0 of the softmax that makes the gradient.
    """

    product: Tensor
    target: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None
    temperature: float

    def _launch(self, kernel: Any, grid: tuple[int, ...], *tensors: Tensor, **flags: int) -> None:
        bias = self.product if self.bias is None else self.bias.contiguous()
        # Triton launches on the current device, which need not be the head's; -1 is no device.
        with torch.cuda.device_of(self.product):
            kernel[grid](
                self.product,
                bias,
                self.target,
                *tensors,
                self.product.shape[1],
                self.product.stride(0),
                float(self.scale),
                1.0 if self.softcap is None else float(self.softcap),
                1 / self.temperature,
                HAS_BIAS=self.bias is not None,
                HAS_SOFTCAP=self.softcap is not None,
                **flags,
                BLOCK=BLOCK,
                num_warps=WARPS,
            )


def read(logits: Logits) -> Tensor:
    """One pass over the tile.

    Returns: (8, tokens) float32: log softmax(z)[y], log softmax(z/β)[y], the entropy of softmax(z)
        in nats, its Σ p², 1 where no logit is larger than the target's and 0 elsewhere, max z,
        log sum exp((z - max z)/β), and log sum exp(z - max z).
    """
    tokens = len(logits.product)
    found = torch.empty(8, tokens, dtype=torch.float32, device=logits.product.device)
    logits._launch(_read, (tokens,), *found.unbind())
    return found


def overwrite(
    logits: Logits,
    weight: Tensor,
    factor: Tensor | None,
    entropy: Tensor,
    maximum: Tensor,
    log_sum: Tensor,
    log_total: Tensor,
    *,
    masses: bool = False,
) -> Tensor | None:
    """A second pass, which turns the tile into the loss's gradient by the product.

    Args:
        logits: as `read` got them; `product` is overwritten.
        weight: (tokens,), the loss's w.
        factor: (tokens,), c of its entropy term; None where it has none.
        entropy: as `read` found it.
        maximum, log_sum, log_total: the last three that `read` found.
        masses: whether to sum up how large the gradient is.
    `product` holds (w · (softmax(z/β) - onehot(y)) + c · p · (log p + H)) · dz/dproduct then.

    Returns: (tokens, blocks) float32, the sum of its absolute values in each `COLUMNS` of a row,
        the last of which may lie beyond it; None unless asked for.
    """
    tokens, vocabulary = logits.product.shape
    weight = weight.to(torch.float32).contiguous()
    paid = weight if factor is None else factor.to(torch.float32).contiguous()
    grid = (tokens, triton.cdiv(vocabulary, BLOCK))
    blocks = grid[1] * (BLOCK // COLUMNS)
    mass = weight if not masses else weight.new_empty(tokens, blocks)
    logits._launch(
        _overwrite, grid, weight, paid, entropy, maximum, log_sum, log_total, mass,
        HAS_ENTROPY=factor is not None, HAS_MASS=masses, COLUMNS=COLUMNS,
    )  # fmt: skip
    return mass if masses else None


@triton.jit
def _tanh(x):
    """As exact as float32 is: Triton has none of its own, and 2·sigmoid(2x) - 1 cancels near 0."""
    square = x * x
    # Taylor, whose next term is below 1e-8 of the sum.
    near = x * (
        1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835))))
    )
    shrunk = tl.exp(-2 * tl.abs(x))
    far = (1 - shrunk) / (1 + shrunk)
    return tl.where(square < 0.0625, near, tl.where(x < 0, -far, far))


@triton.jit
def _load(
    row_ptr,
    bias_ptr,
    columns,
    inside,
    scale,
    softcap,
    HAS_BIAS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
):
    """z of one block."""
    z = tl.load(row_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        z += tl.load(bias_ptr + columns, mask=inside, other=0.0).to(tl.float32)
    z *= scale
    if HAS_SOFTCAP:
        z = softcap * _tanh(z / softcap)
    return z


@triton.jit
def _read(
    product_ptr,
    bias_ptr,
    target_ptr,
    log_p_ptr,
    tempered_ptr,
    entropy_ptr,
    collision_ptr,
    hit_ptr,
    maximum_ptr,
    log_sum_ptr,
    log_total_ptr,
    vocabulary,
    stride,
    scale,
    softcap,
    inverse,
    HAS_BIAS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program a token. Sums are kept relative to the largest logit so far."""
    token = tl.program_id(0).to(tl.int64)  # token · stride may be more than 2^31
    row_ptr = product_ptr + token * stride
    target = tl.load(target_ptr + token)
    top = -3.4e38  # not -inf: (-inf) - (-inf) is NaN
    total = 0.0  # sum of exp(z - top)
    moment = 0.0  # sum of (z - top) · exp(z - top)
    squares = 0.0  # sum of exp(z - top)²
    tempered = 0.0  # sum of exp((z - top)/β)
    wanted = 0.0
    for start in range(0, vocabulary, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < vocabulary
        z = _load(row_ptr, bias_ptr, columns, inside, scale, softcap, HAS_BIAS, HAS_SOFTCAP)
        z = tl.where(inside, z, -float("inf"))
        # From the block, not from memory: computed alone it may differ from its equals by a bit.
        wanted += tl.sum(tl.where(columns == target, z, 0.0), axis=0)
        new = tl.maximum(top, tl.max(z, axis=0))
        step = top - new
        shrink = tl.exp(step)
        below = z - new
        e = tl.exp(below)
        moment = shrink * (moment + step * total)
        moment += tl.sum(tl.where(e > 0, below * e, 0.0), axis=0)  # 0 · -inf is NaN
        total = total * shrink + tl.sum(e, axis=0)
        squares = squares * shrink * shrink + tl.sum(e * e, axis=0)
        tempered = tempered * tl.exp(step * inverse) + tl.sum(tl.exp(below * inverse), axis=0)
        top = new
    log_total = tl.log(total)
    log_sum = tl.log(tempered)
    tl.store(log_p_ptr + token, wanted - top - log_total)
    tl.store(tempered_ptr + token, (wanted - top) * inverse - log_sum)
    tl.store(entropy_ptr + token, log_total - moment / total)
    tl.store(collision_ptr + token, squares / (total * total))
    tl.store(hit_ptr + token, tl.where(wanted >= top, 1.0, 0.0))
    tl.store(maximum_ptr + token, top)
    tl.store(log_sum_ptr + token, log_sum)
    tl.store(log_total_ptr + token, log_total)


@triton.jit
def _overwrite(
    product_ptr,
    bias_ptr,
    target_ptr,
    weight_ptr,
    factor_ptr,
    entropy_ptr,
    maximum_ptr,
    log_sum_ptr,
    log_total_ptr,
    mass_ptr,
    vocabulary,
    stride,
    scale,
    softcap,
    inverse,
    HAS_BIAS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_ENTROPY: tl.constexpr,
    HAS_MASS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program a token and block."""
    token = tl.program_id(0).to(tl.int64)
    row_ptr = product_ptr + token * stride
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < vocabulary
    weight = tl.load(weight_ptr + token)
    factor = tl.load(factor_ptr + token)  # the weight again, where there is no entropy term
    # Other rows need not be read.
    busy = tl.where(inside, tl.abs(weight) + tl.abs(factor), 0.0) != 0
    z = _load(row_ptr, bias_ptr, columns, busy, scale, softcap, HAS_BIAS, HAS_SOFTCAP)
    below = z - tl.load(maximum_ptr + token)
    q = tl.exp(below * inverse - tl.load(log_sum_ptr + token))
    # Before it is rounded to the tile's dtype: near p = 1 nothing would be left of the difference.
    q -= tl.where(columns == tl.load(target_ptr + token), 1.0, 0.0)
    grad = q * weight
    if HAS_ENTROPY:
        log_p = below - tl.load(log_total_ptr + token)
        p = tl.exp(log_p)
        paid = factor * p * (log_p + tl.load(entropy_ptr + token))
        grad += tl.where(p > 0, paid, 0.0)  # 0 · -inf is NaN
    grad *= scale
    if HAS_SOFTCAP:
        tanh = z / softcap
        grad *= 1 - tanh * tanh
    grad = tl.where(busy, grad, 0.0)
    tl.store(row_ptr + columns, grad.to(product_ptr.dtype.element_ty), mask=inside)
    if HAS_MASS:
        masses = tl.sum(tl.reshape(tl.abs(grad), (BLOCK // COLUMNS, COLUMNS)), axis=1)
        place = tl.program_id(1) * (BLOCK // COLUMNS) + tl.arange(0, BLOCK // COLUMNS)
        tl.store(mass_ptr + token * tl.num_programs(1) * (BLOCK // COLUMNS) + place, masses)
