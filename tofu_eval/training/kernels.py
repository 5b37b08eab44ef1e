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

    Returns: (6, tokens) float32: the target's logit, the largest logit, and, with d the distance
        of each logit to that, the sums of exp(d), exp(d/β), d · exp(d) and exp(d)² over all but the
        target, so that 1 - p is as exact as p. What is made of them is left to the caller, who can
        do so more exactly.
    """
    tokens = len(logits.product)
    found = torch.empty(6, tokens, dtype=torch.float32, device=logits.product.device)
    logits._launch(_read, (tokens,), *found.unbind())
    return found


@dataclass(frozen=True, slots=True)
class Softmax:
    """What `overwrite` wants to know of a tile's tokens; (tokens,) each.

    Args:
        entropy: of softmax(z), in nats.
        maximum: the largest logit.
        log_sum, log_total: log of the sums of exp(d/β) and exp(d), the target's with it.
        miss: softmax(z/β)[y] - 1.
    """

    entropy: Tensor
    maximum: Tensor
    log_sum: Tensor
    log_total: Tensor
    miss: Tensor

    def unbind(self) -> list[Tensor]:
        """In the kernel's order and dtype."""
        numbers = (self.entropy, self.maximum, self.log_sum, self.log_total, self.miss)
        return [x.to(torch.float32).contiguous() for x in numbers]


def overwrite(
    logits: Logits,
    weight: Tensor,
    factor: Tensor | None,
    softmax: Softmax,
    *,
    masses: bool = False,
) -> Tensor | None:
    """A second pass, which turns the tile into the loss's gradient by the product.

    Args:
        logits: as `read` got them; `product` is overwritten.
        weight: (tokens,), the loss's w.
        factor: (tokens,), c of its entropy term; None where it has none.
        softmax: of the same tokens.
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
        _overwrite, grid, weight, paid, *softmax.unbind(), mass,
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
    wanted_ptr,
    maximum_ptr,
    total_ptr,
    tempered_ptr,
    moment_ptr,
    squares_ptr,
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
    # Of all but the target:
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
        mine = columns == target
        wanted += tl.sum(tl.where(mine, z, 0.0), axis=0)
        new = tl.maximum(top, tl.max(z, axis=0))
        step = top - new
        shrink = tl.exp(step)
        below = z - new
        e = tl.where(mine, 0.0, tl.exp(below))
        moment = shrink * (moment + step * total)
        moment += tl.sum(tl.where(e > 0, below * e, 0.0), axis=0)  # 0 · -inf is NaN
        total = total * shrink + tl.sum(e, axis=0)
        squares = squares * shrink * shrink + tl.sum(e * e, axis=0)
        tempered *= tl.exp(step * inverse)
        tempered += tl.sum(tl.where(mine, 0.0, tl.exp(below * inverse)), axis=0)
        top = new
    # Nobody has waited to look at the labels: of one that is none the loss must not be finite.
    wanted = tl.where((target >= 0) & (target < vocabulary), wanted, float("nan"))
    tl.store(wanted_ptr + token, wanted)
    tl.store(maximum_ptr + token, top)
    tl.store(total_ptr + token, total)
    tl.store(tempered_ptr + token, tempered)
    tl.store(moment_ptr + token, moment)
    tl.store(squares_ptr + token, squares)


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
    miss_ptr,
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
    # Not q - 1: near p = 1 nothing would be left of the difference.
    miss = tl.load(miss_ptr + token)
    grad = weight * tl.where(columns == tl.load(target_ptr + token), miss, q)
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
