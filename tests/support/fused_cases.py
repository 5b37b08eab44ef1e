"""Hidden states, a head, labels and losses to try the fused loss on, beside the plain formula."""

from __future__ import annotations

import copy
import os
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tofu_eval.training import fused
from tofu_eval.training.distribution_losses import psft
from tofu_eval.training.fused import FusedReport
from tofu_eval.training.logit_losses import LossReport, mean_loss
from tofu_eval.training.losses import LOSSES, LossSpec, lambda_pr

ROWS, TOKENS, WIDTH, VOCABULARY = 3, 23, 12, 71

FLOAT32 = float(os.environ.get("FLOAT32_TOLERANCE", "1e-6"))
"""Largest error in float32, over the largest entry; the kernels' is set by test_kernels.py."""

SPECS = {entry.name: LOSSES.get(entry.name)() for entry in LOSSES.entries()}
SPECS["lambda-pr"] = lambda_pr(0.4, 0.2)  # the default drops nearly every token here
SPECS["psft"] = psft(4.0)


def mostly_onehot(log_q: Tensor, y: Tensor) -> Tensor:
    onehot = torch.nn.functional.one_hot(y, log_q.shape[-1]).to(log_q.dtype)
    return 0.2 * (log_q / 2).softmax(-1) + 0.8 * onehot


SPECS["plug-in"] = LossSpec(
    "plug-in",
    lambda stats: 1 / (1 - stats.log_p) + stats.collision * stats.top.exp().sum(-1),
    1.3,
    entropy=lambda stats: 0.1 * stats.entropy,
    target=mostly_onehot,
    top=3,
)
"""Every registered loss with its defaults, and one that nothing here has heard of."""

HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "softcap": {"softcap": 30.0},
    "scale": {"scale": 0.25},
    "all": {"bias": True, "softcap": 5.0, "scale": 0.25},
}

each_loss = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def reference_of(labels: Tensor) -> Tensor:
    """What a reference model might think of each label."""
    return -(labels % 7).double() / 2 - 0.1


def fused_loss(spec: LossSpec, hidden: Tensor, weight: Tensor, y: Tensor, **more: Any) -> Any:
    return fused.fused_loss(spec, hidden, weight, y, reference=reference_of(y), **more)


class Case:
    """Hidden states, a head and labels with a prompt, a hole and padding.

    Logits are up to about 20, and the targets' probabilities from near 0 to near 1.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, bias: bool = False, **head: float):
        stream = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        def leaf(x: Tensor) -> Tensor:
            return x.to(dtype).requires_grad_()

        weight = normal(VOCABULARY, WIDTH)
        self.labels = torch.randint(0, VOCABULARY, (ROWS, TOKENS), generator=stream)
        help_given = torch.rand(ROWS, TOKENS, 1, generator=stream, dtype=torch.float64)
        self.hidden = leaf(normal(ROWS, TOKENS, WIDTH) * 0.7 + help_given * weight[self.labels])
        self.weight = leaf(weight)
        self.bias = leaf(2 * normal(VOCABULARY)) if bias else None
        self.labels[0, :5] = self.labels[1, 9:12] = self.labels[2, 17:] = -100
        self.head = head

    @property
    def leaves(self) -> list[Tensor]:
        return [x for x in (self.hidden, self.weight, self.bias) if x is not None]

    def fused(self, spec: LossSpec, **settings: Any) -> FusedReport:
        settings = {"bias": self.bias, **self.head, **settings}
        return fused_loss(spec, self.hidden, self.weight, self.labels, **settings)

    def logits(self) -> Tensor:
        z = self.hidden @ self.weight.T
        z = (z if self.bias is None else z + self.bias) * self.head.get("scale", 1.0)
        softcap = self.head.get("softcap")
        return z if softcap is None else softcap * torch.tanh(z / softcap)

    def plain(self, spec: LossSpec, **settings: Any) -> LossReport:
        settings = {"reference": reference_of(self.labels), **settings}
        return mean_loss(spec, self.logits(), self.labels, **settings)

    def in_float64(self) -> Case:
        """The same numbers, rounded already if this case is in half precision."""
        other = copy.copy(self)
        for name in ("hidden", "weight", "bias"):
            x = getattr(self, name)
            setattr(other, name, None if x is None else x.detach().double().requires_grad_())
        return other

    def backward(self, loss: Tensor) -> list[Tensor]:
        loss.backward()
        grads = [x.grad for x in self.leaves]
        for x in self.leaves:
            x.grad = None
        return grads


def close(ours: Any, plain: Any, tolerance: float) -> None:
    """Equal up to `tolerance` times the largest entry."""
    ours, plain = ours.detach().double(), plain.detach().double()
    assert plain.abs().max() > 0
    torch.testing.assert_close(ours, plain, rtol=0, atol=tolerance * plain.abs().max().item())


def equals_plain(case: Case, spec: LossSpec, tolerance: float, **settings: Any) -> None:
    exact = case.in_float64()
    ours, plain = case.fused(spec, **settings), exact.plain(spec)
    for field in ("loss", "cross_entropy", "mean_weight"):
        close(getattr(ours, field), getattr(plain, field), tolerance)
    grads, expected = case.backward(ours.loss), exact.backward(plain.loss)
    for one, other, x in zip(grads, expected, case.leaves, strict=True):
        assert one.dtype == x.dtype
        close(one, other, tolerance)


class Watch(TorchDispatchMode):
    """Counts matrix products and remembers the largest tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0
        self.shapes: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        if isinstance(out, Tensor) and not func.is_view:
            self.shapes[tuple(out.shape)] += 1
        return out
