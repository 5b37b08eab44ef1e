"""The losses of supervised fine-tuning, each a token weight and a temperature.

For logits z, target y, weight w and temperature β, nearly all of them are

    loss = -w · β · log softmax(z/β)[y]        dloss/dz = w · (softmax(z/β) - onehot(y))

with w a constant to autograd. Two terms may be added: a distribution q in onehot's place, and
-c · H, which rewards the entropy H of softmax(z) and has the gradient c · p · (log p + H); q and c
are constants too. A new loss is one function that returns a `LossSpec`; it needs no autograd code.
Those that look at the whole distribution or at a reference model are in `distribution_losses.py`.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.registry import Registry, origin_of


def check_number(what: str, value: float, wanted: str, fits: bool) -> None:
    """Raise ConfigError unless `value` is finite and `fits`; `wanted` says which values do."""
    if not (math.isfinite(value) and fits):
        raise ConfigError(f"{what} is {value}; expected a finite number {wanted}.")


@dataclass(frozen=True, slots=True)
class TokenStats:
    """What a weight may depend on; tensors of one length and one floating dtype.

    Args:
        log_p: the target's log-probability at temperature 1, in nats.
        position: the target's 0-based place in its completion.
        length: the completion's number of supervised tokens.
        entropy: of the next-token distribution at temperature 1, in nats.
        collision: Σ p² of that distribution, in (0, 1].
        top: (tokens, k) its k largest log-probabilities, falling; k is the LossSpec's `top`.
        reference: the target's log-probability under a reference model; None unless the LossSpec
            asks for it.
    """

    log_p: Tensor
    position: Tensor
    length: Tensor
    entropy: Tensor
    collision: Tensor
    top: Tensor
    reference: Tensor | None = None


Factor = Callable[[TokenStats], Tensor]
"""Turns what is known of tokens into one number a token."""

Target = Callable[[Tensor, Tensor], Tensor]
"""Turns log softmax(z/β), (tokens, V), and the targets, (tokens,), into distributions (tokens, V).

What comes in is not to be changed. Each row of what goes out sums to one and is held constant.
"""


@dataclass(frozen=True, slots=True, eq=False)  # functions are equal only if they are one
class LossSpec:
    """A loss: w, β, and what is rare: an entropy term, and a target other than onehot.

    Args:
        name: as it is registered.
        weight: gives w.
        temperature: β > 0.
        entropy: gives c >= 0, the factor of the entropy that the loss rewards; None for no term.
        target: gives the distribution that softmax(z/β) is drawn to; None for the label itself.
        top: how many of the largest log-probabilities the factors look at.
        reference: whether they look at a reference model's log-probabilities.

    Raises:
        ConfigError: the temperature is not a positive finite number.
    """

    name: str
    weight: Factor
    temperature: float = 1.0
    entropy: Factor | None = None
    target: Target | None = None
    top: int = 0
    reference: bool = False

    def __post_init__(self) -> None:
        check_number(f"{self.name}: beta", self.temperature, "> 0", self.temperature > 0)
        check_number(f"{self.name}: top", self.top, ">= 0", self.top >= 0)


@dataclass(frozen=True, slots=True)
class Loss:
    """A registered loss; call it with its settings to get a LossSpec."""

    name: str
    factory: Callable[..., LossSpec]
    paper: str

    def settings(self) -> dict[str, float]:
        """Its settings with their defaults."""
        parameters = inspect.signature(self.factory).parameters
        return {name: parameter.default for name, parameter in parameters.items()}

    def __call__(self, **settings: float) -> LossSpec:
        """The LossSpec; raises ConfigError for a setting that is unknown or out of range."""
        names = list(self.settings())
        unknown = [name for name in settings if name not in names]
        if unknown:
            raise ConfigError(
                f"The loss '{self.name}' has no setting '{unknown[0]}'; "
                f"it takes {', '.join(names) or 'none'}."
            )
        return self.factory(**settings)


def _import_the_others() -> None:
    importlib.import_module("tofu_eval.training.distribution_losses")


LOSSES: Registry[Loss] = Registry(
    "loss",
    "tofu_eval.training",
    group="tofu_eval.losses",
    listing="tofu-eval losses list",
    scan=_import_the_others,
)

Factory = TypeVar("Factory", bound=Callable[..., LossSpec])


def loss(*, name: str, paper: str) -> Callable[[Factory], Factory]:
    """Register a function of numbers with defaults as a loss and return it unchanged.

    Raises:
        ConfigError: at registration, when the function's defaults do not make a LossSpec of
            that name.
    """

    def register(factory: Factory) -> Factory:
        parameters = inspect.signature(factory).parameters.values()
        free = [p.name for p in parameters if p.default is inspect.Parameter.empty]
        if free:
            raise ConfigError(f"The loss '{name}' gives its setting '{free[0]}' no default.")
        spec = factory()
        if not isinstance(spec, LossSpec) or spec.name != name:
            raise ConfigError(
                f"The loss '{name}' must return a LossSpec of that name, got {spec!r}."
            )
        LOSSES.add(name, Loss(name, factory, paper), origin_of(factory))
        return factory

    return register


@loss(name="ce", paper="")
def ce() -> LossSpec:
    """Cross-entropy: every token counts the same.

    Formula: w = 1, β = 1.
    """
    return LossSpec("ce", lambda stats: torch.ones_like(stats.log_p))


@loss(name="focal", paper="arXiv:1708.02002")
def focal(gamma: float = 2.0) -> LossSpec:
    """Focal loss: tokens that the model already predicts count less.

    Formula: w = (1-p)^γ - γ p (1-p)^(γ-1) log p, β = 1; the gradient of -(1-p)^γ log p.
    Args:
        gamma: γ >= 0; 0 is cross-entropy, larger turns to rarer tokens.
    Departs: the value is -w log p, not -(1-p)^γ log p; the gradient is the same.
    """
    check_number("focal: gamma", gamma, ">= 0", gamma >= 0)
    return LossSpec("focal", lambda stats: _focal_weight(stats.log_p, gamma))


@loss(name="tofu", paper="arXiv:2605.00195")
def tofu(gamma: float = 3.0, beta: float = 0.8) -> LossSpec:
    """Tempered focal loss: the focal weight, and logits divided by a temperature below one.

    Formula: w = (1-p)^γ - γ p (1-p)^(γ-1) log p with p at temperature 1, and β.
    Args:
        gamma: γ >= 0, as in `focal`.
        beta: β > 0; smaller keeps the model's own distribution flatter at temperature 1.
    Departs: the reference code returns NaN where p underflows or rounds to 1 with γ < 1; here w
        is computed from log p and is finite.
    """
    check_number("tofu: gamma", gamma, ">= 0", gamma >= 0)
    return LossSpec("tofu", lambda stats: _focal_weight(stats.log_p, gamma), beta)


@loss(name="gem", paper="arXiv:2408.16673")
def gem(beta: float = 0.7) -> LossSpec:
    """GEM with linear h: cross-entropy at a temperature, which rewards entropy.

    Formula: w = 1, and β.
    Args:
        beta: β > 0; 1 is cross-entropy, smaller is flatter.
    Departs: the paper's value sums q log(p_k / p_y) over the vocabulary, q = softmax(z/β) held
        fixed; this surrogate has the same gradient and another value.
    """
    return LossSpec("gem", lambda stats: torch.ones_like(stats.log_p), beta)


@loss(name="dft", paper="arXiv:2508.05629")
def dft() -> LossSpec:
    """Dynamic fine-tuning: each token counts as much as the model believes it.

    Formula: w = p, β = 1.
    """
    return LossSpec("dft", lambda stats: stats.log_p.exp())


@loss(name="p-alpha", paper="arXiv:2510.00526")
def p_alpha(alpha: float = 1.0) -> LossSpec:
    """The p^α family: between cross-entropy and a loss that trusts the model's own belief.

    Formula: w = p^α, β = 1; the gradient of (1 - p^α) / α.
    Args:
        alpha: α >= 0; 0 is cross-entropy, 1 is `dft`, larger leans more on what is likely already.
    Departs: the value is -p^α log p, not (1 - p^α) / α; the gradient is the same.
    """
    check_number("p-alpha: alpha", alpha, ">= 0", alpha >= 0)
    return LossSpec("p-alpha", lambda stats: (alpha * stats.log_p).exp())


@loss(name="lambda-pr", paper="arXiv:2508.09654")
def lambda_pr(lam: float = 0.1, gamma: float = 1e-5) -> LossSpec:
    """λ-PR: trades precision for recall by dropping the tokens that are well predicted already.

    Formula: r = p / (γ + (1-γ) p) estimates model over data; with t the position in a completion
        of n tokens, w = λ^(t / max(n-1, 1)) · r where r <= λ^(1/n), else 0; β = 1.
    Args:
        lam: λ in (0, 1]; smaller drops more, 1 drops nothing. Short completions drop more too.
        gamma: γ in (0, 1]; λ = 1 gives cross-entropy as γ -> 0 and `dft` at γ = 1.
    Departs: the formula is the one in the reference code of arXiv:2605.00195, which takes t and n
        from the padded batch, prompt included, so that a token's weight depends on its
        batch-mates; here both count supervised tokens only.
    """
    check_number("lambda-pr: lam", lam, "> 0 and <= 1", 0 < lam <= 1)
    check_number("lambda-pr: gamma", gamma, "> 0 and <= 1", 0 < gamma <= 1)
    return LossSpec("lambda-pr", lambda stats: _recall_weight(stats, lam, gamma))


def _focal_weight(log_p: Tensor, gamma: float) -> Tensor:
    """(1-p)^γ · (1 + γ p · log p / (p-1)), finite for every log p <= 0."""
    minus_q = torch.expm1(log_p)  # p - 1 without cancellation
    # log p / (p-1) tends to 1 as p -> 1, where the plain quotient is 0/0.
    slope = torch.where(minus_q == 0, 1.0, log_p / minus_q)
    return (-minus_q) ** gamma * (1 + gamma * log_p.exp() * slope)


def _recall_weight(stats: TokenStats, lam: float, gamma: float) -> Tensor:
    # The odds of r are the odds of p over γ: exact at p = 1, and 0 where p underflows.
    log_odds = stats.log_p - torch.log(-torch.expm1(stats.log_p))
    ratio = torch.sigmoid(log_odds - math.log(gamma))
    decay = lam ** (stats.position / (stats.length - 1).clamp(min=1))
    return torch.where(ratio <= lam ** (1 / stats.length), decay * ratio, 0.0)
