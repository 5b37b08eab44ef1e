"""The products of a tile's gradient, without what is nearly nothing in it, as two Triton kernels.

Most of a gradient over a vocabulary is next to zero. Blocks of tokens × columns whose values cannot
be seen in the result are not multiplied: of each row at most the dtype's resolution of its sum of
absolute values is left out in all. Rows of weight 0 are such blocks too, and the head's gradient is
neither read nor written where there is nothing to add. What is left out stands in a table on the
device, so that nobody waits for it.

Imported only for tensors on CUDA.
"""

# Triton would look up what annotates an argument.
# ruff: noqa: ANN001, ANN202
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tofu_eval.training import kernels
from tofu_eval.training.products import Gradients, Part, share_lift, sum_of_rows

TOKENS = 64
"""Tokens of a block."""

WIDTH = 128
"""Hidden units that a program makes."""

WARPS = 4


def add_products(grads: Gradients, part: Part, mass: Tensor) -> None:
    """Add what a tile gives to the gradients; `mass` is as `kernels.overwrite` returns it."""
    table = blocks_to_keep(mass, part.grad.dtype)
    if grads.hidden is not None:
        _write_hidden(grads.hidden[part.place], part, table)
    if grads.weight is not None:
        _add_to_head(grads.weight, part, table)
    if grads.bias is not None:
        grads.bias.add_(sum_of_rows(part, grads.bias.dtype))


def blocks_to_keep(mass: Tensor, dtype: torch.dtype) -> Tensor:
    """Which blocks of `TOKENS` rows and `kernels.COLUMNS` columns are to be multiplied.

    Args:
        mass: (tokens, blocks), the gradient's absolute values summed over blocks of columns.
        dtype: the gradient's.
    Returns: (groups of tokens, blocks) int8. What is left out of a row is at most half the dtype's
        epsilon times the row's sum, over all its blocks together.
    """
    tokens, blocks = mass.shape
    least = mass.sum(1, keepdim=True) * (torch.finfo(dtype).eps / 2 / blocks)
    # Not "at least": a row that weighs nothing keeps nothing. What is no number is to be seen.
    kept = (mass > least) | ~mass.isfinite()
    padded = torch.nn.functional.pad(kept, (0, 0, 0, -tokens % TOKENS))
    return padded.view(-1, TOKENS, blocks).any(1).to(torch.int8).contiguous()


def _write_hidden(out: Tensor, part: Part, table: Tensor) -> None:
    tokens, vocabulary = part.grad.shape
    width = part.head.shape[1]
    head, lift = part.head.contiguous(), part.lift
    with torch.cuda.device_of(part.grad):
        _hidden[(triton.cdiv(tokens, TOKENS), triton.cdiv(width, WIDTH))](
            part.grad, head, out, out if lift is None else lift.contiguous(), table,
            tokens, vocabulary, width, part.grad.stride(0), table.shape[1],
            HAS_LIFT=lift is not None, TOKENS=TOKENS, COLUMNS=kernels.COLUMNS, WIDTH=WIDTH,
            num_warps=WARPS,
        )  # fmt: skip


def _add_to_head(total: Tensor, part: Part, table: Tensor) -> None:
    tokens, vocabulary = part.grad.shape
    width = part.head.shape[1]
    hidden, shared = share_lift(part)
    hidden = hidden.contiguous()
    with torch.cuda.device_of(part.grad):
        _head[(triton.cdiv(vocabulary, kernels.COLUMNS), triton.cdiv(width, WIDTH))](
            part.grad, hidden, total, total if shared is None else shared, table,
            tokens, vocabulary, width, part.grad.stride(0), table.shape[1],
            HAS_LIFT=shared is not None, TOKENS=TOKENS, COLUMNS=kernels.COLUMNS, WIDTH=WIDTH,
            num_warps=WARPS,
        )  # fmt: skip


@triton.jit
def _load_grad(grad_ptr, rows, columns, tokens, vocabulary, stride):
    """(TOKENS, COLUMNS) of the gradient."""
    inside = (rows < tokens)[:, None] & (columns < vocabulary)[None, :]
    places = rows.to(tl.int64)[:, None] * stride + columns[None, :]
    return tl.load(grad_ptr + places, mask=inside, other=0.0)


@triton.jit
def _hidden(
    grad_ptr,
    head_ptr,
    out_ptr,
    lift_ptr,
    table_ptr,
    tokens,
    vocabulary,
    width,
    stride,
    blocks,
    HAS_LIFT: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """out = grad @ head / lift: a program a group of tokens and a part of the width."""
    group = tl.program_id(0)
    rows = group * TOKENS + tl.arange(0, TOKENS)
    units = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros((TOKENS, WIDTH), dtype=tl.float32)
    for block in range(0, tl.cdiv(vocabulary, COLUMNS)):
        if tl.load(table_ptr + group * blocks + block) != 0:
            columns = block * COLUMNS + tl.arange(0, COLUMNS)
            grad = _load_grad(grad_ptr, rows, columns, tokens, vocabulary, stride)
            inside = (columns < vocabulary)[:, None] & (units < width)[None, :]
            places = columns.to(tl.int64)[:, None] * width + units[None, :]
            head = tl.load(head_ptr + places, mask=inside, other=0.0)
            total = tl.dot(grad, head, total, input_precision="ieee")
    inside = (rows < tokens)[:, None] & (units < width)[None, :]
    if HAS_LIFT:
        total /= tl.load(lift_ptr + rows, mask=rows < tokens, other=1.0)[:, None]
    tl.store(out_ptr + rows.to(tl.int64)[:, None] * width + units[None, :], total, mask=inside)


@triton.jit
def _head(
    grad_ptr,
    hidden_ptr,
    total_ptr,
    lift_ptr,
    table_ptr,
    tokens,
    vocabulary,
    width,
    stride,
    blocks,
    HAS_LIFT: tl.constexpr,
    TOKENS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """total += grad.T @ hidden / lift: a program a block of the vocabulary and of the width."""
    block = tl.program_id(0)
    columns = block * COLUMNS + tl.arange(0, COLUMNS)
    units = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    added = tl.zeros((COLUMNS, WIDTH), dtype=tl.float32)
    busy = 0
    for group in range(0, tl.cdiv(tokens, TOKENS)):
        if tl.load(table_ptr + group * blocks + block) != 0:
            busy = 1
            rows = group * TOKENS + tl.arange(0, TOKENS)
            grad = _load_grad(grad_ptr, rows, columns, tokens, vocabulary, stride)
            inside = (rows < tokens)[:, None] & (units < width)[None, :]
            places = rows.to(tl.int64)[:, None] * width + units[None, :]
            hidden = tl.load(hidden_ptr + places, mask=inside, other=0.0)
            added = tl.dot(tl.trans(grad), hidden, added, input_precision="ieee")
    if busy != 0:
        if HAS_LIFT:
            added /= tl.load(lift_ptr)
        inside = (columns < vocabulary)[:, None] & (units < width)[None, :]
        places = total_ptr + columns.to(tl.int64)[:, None] * width + units[None, :]
        tl.store(places, tl.load(places, mask=inside, other=0.0) + added, mask=inside)
