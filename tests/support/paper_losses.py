"""The losses as their papers write them, on the whole distribution, and cases to try them on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from tofu_eval.training import logit_losses
from tofu_eval.training.logit_losses import LossReport
from tofu_eval.training.losses import LossSpec

Settings = dict[str, float]


def reference_of(labels: Tensor) -> Tensor:
    """What a reference model might think of each label: nothing here depends on the place."""
    return -(labels % 7).double() / 2 - 0.1


def token_losses(spec: LossSpec, logits: Tensor, labels: Tensor, **more: Any) -> Tensor:
    more = {"reference": reference_of(labels), **more}
    return logit_losses.token_losses(spec, logits, labels, **more)


def mean_loss(spec: LossSpec, logits: Tensor, labels: Tensor, **more: Any) -> LossReport:
    more = {"reference": reference_of(labels), **more}
    return logit_losses.mean_loss(spec, logits, labels, **more)


@dataclass
class Plain:
    """What the papers' formulas are written in: the whole distribution and each token's place."""

    z: Tensor
    y: Tensor
    t: Tensor
    n: Tensor

    @property
    def log_q(self) -> Tensor:
        return log_softmax(self.z, dim=-1)

    @property
    def log_p(self) -> Tensor:
        return self.log_q.gather(-1, self.y[:, None])[:, 0]

    @property
    def p(self) -> Tensor:
        return self.log_p.exp()

    def tempered(self, beta: float) -> Tensor:
        return log_softmax(self.z / beta, dim=-1).gather(-1, self.y[:, None])[:, 0]


def plain_focal_factor(p: Tensor, gamma: float) -> Tensor:
    return (1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * torch.log(p)


def plain_focal(x: Plain, gamma: float) -> Tensor:
    """Lin et al. 2017, arXiv:1708.02002, equation 4."""
    return -((1 - x.p) ** gamma) * x.log_p


def plain_tofu(x: Plain, gamma: float, beta: float) -> Tensor:
    """Klypa and Cherednichenko 2026, arXiv:2605.00195."""
    return -plain_focal_factor(x.p, gamma).detach() * beta * x.tempered(beta)


def plain_gem(x: Plain, beta: float) -> Tensor:
    """Li et al. 2024, arXiv:2408.16673, with linear h."""
    held = torch.softmax(x.z / beta, dim=-1).detach()
    return (held * (x.log_q - x.log_p[:, None])).sum(-1)


def plain_dft(x: Plain) -> Tensor:
    """Wu et al. 2025, arXiv:2508.05629, equation 9."""
    return -x.p.detach() * x.log_p


def plain_lambda_pr(x: Plain, lam: float, gamma: float) -> Tensor:
    """Verine et al. 2025, arXiv:2508.09654, as the code of arXiv:2605.00195 writes it."""
    root = lam ** (1 / x.n)
    delta = gamma * root / (1 - (1 - gamma) * root)
    weight = lam ** (x.t / (x.n - 1)) * (x.p <= delta) * x.p / (gamma + (1 - gamma) * x.p)
    return -weight.detach() * x.log_p


def plain_p_alpha(x: Plain, alpha: float) -> Tensor:
    """Li et al. 2025, arXiv:2510.00526."""
    return (1 - x.p**alpha) / alpha


def plain_eaft(x: Plain, alpha: float, top: float) -> Tensor:
    """Diao et al. 2026, arXiv:2601.02151: of the K likeliest tokens, all of them where K is V."""
    likeliest = log_softmax(x.log_q.topk(int(top)).values, dim=-1)
    gate = -(likeliest.exp() * likeliest).sum(-1) / math.log(top)
    return -(gate.detach() ** alpha) * x.log_p


def plain_deft(x: Plain) -> Tensor:
    """Wang et al. 2026, arXiv:2602.11424."""
    alpha = x.log_q.exp().square().sum(-1).detach()
    return (1 - x.p**alpha) / alpha


def plain_psft(x: Plain, epsilon: float) -> Tensor:
    """Zhu et al. 2025, arXiv:2508.17784."""
    ratio = x.p / reference_of(x.y).exp()
    return -torch.minimum(ratio, ratio.clamp(1 - epsilon, 1 + epsilon))


def plain_sed(x: Plain, strength: float, top: float, threshold: float) -> Tensor:
    """Chen et al. 2026, arXiv:2602.07464, as its authors' code has it."""
    chosen = x.log_q.exp().topk(int(top)).values.sum(-1) < threshold
    return -x.log_p + strength * chosen.double() * (x.p * (x.p - 1) + 0.25)


def plain_confidence_penalty(x: Plain, strength: float) -> Tensor:
    """Pereyra et al. 2017, arXiv:1701.06548."""
    return -x.log_p + strength * (x.log_q.exp() * x.log_q).sum(-1)


def plain_label_smoothing(x: Plain, epsilon: float) -> Tensor:
    """Szegedy et al. 2015, arXiv:1512.00567, as torch has it."""
    return cross_entropy(x.z, x.y, label_smoothing=epsilon, reduction="none")


def plain_gem_logsigmoid(x: Plain, beta: float, slope: float) -> Tensor:
    """Li et al. 2024, arXiv:2408.16673, with h = log sigmoid."""
    held = torch.softmax(x.z / beta, dim=-1)
    counted = torch.sigmoid(slope * (x.z - x.z.gather(-1, x.y[:, None])))
    return ((held * counted).detach() * (x.log_q - x.log_p[:, None])).sum(-1)


PAPERS: dict[str, Callable[..., Tensor]] = {
    "ce": lambda x: -x.log_p,
    "focal": plain_focal,
    "tofu": plain_tofu,
    "gem": plain_gem,
    "dft": plain_dft,
    "lambda-pr": plain_lambda_pr,
    "p-alpha": plain_p_alpha,
    "eaft": plain_eaft,
    "deft": plain_deft,
    "psft": plain_psft,
    "sed": plain_sed,
    "confidence-penalty": plain_confidence_penalty,
    "label-smoothing": plain_label_smoothing,
    "gem-logsigmoid": plain_gem_logsigmoid,
}

CASES: list[tuple[str, Settings]] = [
    ("ce", {}),
    ("focal", {"gamma": 2.0}),
    ("focal", {"gamma": 0.5}),
    ("tofu", {"gamma": 3.0, "beta": 0.8}),
    ("tofu", {"gamma": 0.0, "beta": 1.7}),
    ("gem", {"beta": 0.7}),
    ("dft", {}),
    ("lambda-pr", {"lam": 0.1, "gamma": 1e-5}),
    ("lambda-pr", {"lam": 0.4, "gamma": 0.2}),
    ("p-alpha", {"alpha": 0.3}),
    ("p-alpha", {"alpha": 10.0}),
    ("eaft", {"alpha": 1.0, "top": 11.0}),
    ("eaft", {"alpha": 0.4, "top": 11.0}),
    ("deft", {}),
    ("psft", {"epsilon": 0.28}),
    ("psft", {"epsilon": 4.0}),
    ("sed", {"strength": 1.0, "top": 2.0, "threshold": 0.95}),
    ("sed", {"strength": 0.7, "top": 1.0, "threshold": 0.99}),
    ("confidence-penalty", {"strength": 0.3}),
    ("label-smoothing", {"epsilon": 0.1}),
    ("gem-logsigmoid", {"beta": 0.7, "slope": 0.01}),
    ("gem-logsigmoid", {"beta": 1.4, "slope": 0.6}),
]
"""Settings are given by name, so that the formulas above never see a default of ours."""

PLAIN_CASES = [
    (name, settings)
    for name, settings in CASES
    if name not in ("confidence-penalty", "label-smoothing", "gem-logsigmoid")
]
"""Those of w and β alone."""

each_case = pytest.mark.parametrize(
    ("name", "settings"), CASES, ids=[f"{name}{list(s.values())}" for name, s in CASES]
)

TOKENS, VOCABULARY = 40, 11


def some_logits(seed: int = 0, rows: int = 3, scale: float = 4.0) -> tuple[Tensor, Tensor]:
    """Float64 logits that make p range from about 1e-9 to 1, and labels without -100."""
    stream = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, TOKENS, VOCABULARY, generator=stream, dtype=torch.float64) * scale
    labels = torch.randint(0, VOCABULARY, (rows, TOKENS), generator=stream)
    return logits.requires_grad_(), labels
