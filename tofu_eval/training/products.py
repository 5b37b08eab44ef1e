"""The two products of a tile's gradient: with the head, and with the hidden states.

They take most of the time, so what adds nothing is left out: rows of weight 0, and with
`kernel_products.py` on CUDA whole blocks that are below the dtype's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tofu_eval.training.tiles import ROWS, TileReport

VOCABULARY_BLOCK = 2**14
"""Rows of the head's gradient that are made at a time where they cannot be added to in place."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """What the sums go to: at least float32, None where nothing is wanted."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Part:
    """A tile's gradient, and what it is multiplied with.

    Args:
        place: its tokens among all.
        grad: (tokens, V), whose rows may lie apart.
        hidden: (tokens, H) and
        head: (V, H), in grad's dtype.
        report: what the tile says of its tokens.
    """

    place: slice
    grad: Tensor
    hidden: Tensor
    head: Tensor
    report: TileReport

    @property
    def lift(self) -> Tensor | None:
        """What each row of `grad` is to be divided by."""
        return self.report.lift


def add_products(grads: Gradients, part: Part) -> None:
    """Add what a tile gives to the gradients; hidden's rows are written."""
    if part.report.mass is not None:
        from tofu_eval.training import kernel_products

        kernel_products.add_products(grads, part, part.report.mass)
        return
    place: slice | Tensor = part.place
    if not part.grad.is_cuda:  # how many there are would have to be waited for
        part, place = _without_idle_rows(part)
    if grads.hidden is not None:
        made = torch.mm(part.grad, part.head).to(grads.hidden.dtype)
        grads.hidden[place] = made if part.lift is None else made.div_(part.lift[:, None])
    if grads.weight is not None:
        _add_to_head(grads.weight, part)
    if grads.bias is not None:
        grads.bias.add_(sum_of_rows(part, grads.bias.dtype))


def _without_idle_rows(part: Part) -> tuple[Part, slice | Tensor]:
    """A tile without the rows that weigh nothing, and where its rows stand among all tokens."""
    rows, lift = part.report.rows, part.lift
    busy = (rows[2] != 0) | (rows[ROWS - 1] != 0)  # w, and c of the entropy term
    if busy.all():
        return part, part.place
    report = TileReport(rows[:, busy], None if lift is None else lift[busy])
    kept = Part(part.place, part.grad[busy], part.hidden[busy], part.head, report)
    return kept, busy.nonzero().squeeze(1) + part.place.start


def _add_to_head(total: Tensor, part: Part) -> None:
    """total += grad.T @ hidden, not rounded to half precision before it is added."""
    if part.grad.dtype == total.dtype:
        hidden = part.hidden if part.lift is None else part.hidden / part.lift[:, None]
        total.addmm_(part.grad.t(), hidden)
        return
    if part.grad.is_cuda and part.lift is None:
        torch.addmm(total, part.grad.t(), part.hidden, out_dtype=torch.float32, out=total)
        return
    hidden, shared = share_lift(part)
    for start in range(0, len(total), VOCABULARY_BLOCK):
        block = slice(start, start + VOCABULARY_BLOCK)
        grad = part.grad[:, block].t()
        if part.grad.is_cuda:
            made = torch.mm(grad, hidden, out_dtype=torch.float32)
        else:
            made = torch.mm(grad.to(total.dtype), hidden.to(total.dtype))
        total[block] += made if shared is None else made.div_(shared)


def share_lift(part: Part) -> tuple[Tensor, Tensor | None]:
    """Hidden states scaled so that all rows of the gradient are too large by one power of two.

    That is the smallest of the rows' own, so that it only makes hidden states smaller: where one
    is rounded away, a row with a far larger gradient stands beside it.
    """
    if part.lift is None:
        return part.hidden, None
    if not len(part.lift):
        return part.hidden, part.lift.new_ones(())
    shared = part.lift.amin()
    return part.hidden * (shared / part.lift)[:, None].to(part.hidden.dtype), shared


def sum_of_rows(part: Part, dtype: torch.dtype) -> Tensor:
    """What a bias gets of a tile."""
    if part.lift is None:
        return part.grad.sum(0, dtype=dtype)
    return torch.mv(part.grad.t().to(dtype), 1 / part.lift.to(dtype))
