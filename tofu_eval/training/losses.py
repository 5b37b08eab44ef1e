"""The losses of supervised fine-tuning, each a token weight and a temperature.

For logits z, target y, weight w and temperature β, all of them are

    loss = -w · β · log softmax(z/β)[y]        dloss/dz = w · (softmax(z/β) - onehot(y))

with w a constant to autograd. A new loss is one function that returns a `LossSpec`; it needs no
autograd code. Everywhere in this file labels are aligned with the logits: `labels[..., t]` is the
token that `logits[..., t, :]` predicts. Labels in the Hugging Face convention are shifted by one
first, as `lm_head.py` does.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tofu_eval.core.errors import ConfigError, TrainingError
from tofu_eval.core.registry import Registry, origin_of

IGNORE = -100
"""The label of a token that is not trained on, as in torch and transformers."""


def check_number(what: str, value: float, wanted: str, fits: bool) -> None:
    """Raise ConfigError unless `value` is finite and `fits`; `wanted` says which values do."""
    if not (math.isfinite(value) and fits):
        raise ConfigError(f"{what} is {value}; expected a finite number {wanted}.")


@dataclass(frozen=True, slots=True)
class TokenStats:
    """What a weight may depend on; three tensors of one shape and one floating dtype.

    `log_p` is the target's log-probability at temperature 1, in nats; `position` the target's
    0-based place in its completion; `length` the completion's number of supervised tokens.
    """

    log_p: Tensor
    position: Tensor
    length: Tensor


@dataclass(frozen=True, slots=True)
class LossSpec:
    """A loss: `weight` turns TokenStats into w, one a token; `temperature` is β > 0.

    Raises:
        ConfigError: the temperature is not a positive finite number.
    """

    name: str
    weight: Callable[[TokenStats], Tensor]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number(f"{self.name}: beta", self.temperature, "> 0", self.temperature > 0)


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


LOSSES: Registry[Loss] = Registry(
    "loss",
    "tofu_eval.training",
    group="tofu_eval.losses",
    listing="tofu-eval losses list",
    scan=lambda: None,  # the built-ins are below, so importing this file registers them
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
    spec: LossSpec, logits: Tensor, labels: Tensor, *, places: Places | None = None
) -> Tensor:
    """The loss of each token, 0 where the label is -100.

    Args:
        spec: the loss.
        logits: (..., tokens, vocabulary); float16 and bfloat16 are computed in float32.
        labels: (..., tokens) integers, aligned: `labels[..., t]` is what `logits[..., t, :]`
            predicts.
        places: from `completion_places`; needed for packed rows only.
    Returns: (..., tokens), at least float32, in nats times w.

    Raises:
        TrainingError: the shapes do not fit.
    """
    supervised = labels != IGNORE
    losses, _, _ = _supervised_losses(spec, logits, labels, places)
    return torch.zeros_like(labels, dtype=losses.dtype).masked_scatter(supervised, losses)


def mean_loss(
    spec: LossSpec,
    logits: Tensor,
    labels: Tensor,
    *,
    places: Places | None = None,
    num_items: int | None = None,
) -> LossReport:
    """The loss per supervised token, with plain cross-entropy beside it.

    Args:
        spec, logits, labels, places: as in `token_losses`.
        num_items: what to divide by, when the batch is a part of a larger one: the larger one's
            supervised tokens. The parts' reports then add up to the whole's.

    Raises:
        TrainingError: the shapes do not fit, or there is nothing to divide by.
    """
    losses, log_p, weight = _supervised_losses(spec, logits, labels, places)
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


def token_weights(spec: LossSpec, log_p: Tensor, position: Tensor, length: Tensor) -> Tensor:
    """The weights of a loss.

    Args:
        spec: the loss.
        log_p: (tokens,) floats.
        position, length: (tokens,) integers; what they are is in TokenStats.
    Returns: (tokens,), to be held constant.

    Raises:
        TrainingError: the loss does not give one weight a token.
    """
    weight = spec.weight(TokenStats(log_p, position.to(log_p.dtype), length.to(log_p.dtype)))
    if weight.shape != log_p.shape:
        raise TrainingError(
            f"The loss '{spec.name}' gives weights of shape {tuple(weight.shape)} to "
            f"{len(log_p)} tokens; expected one weight a token."
        )
    return weight


def _supervised_losses(
    spec: LossSpec, logits: Tensor, labels: Tensor, places: Places | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, log p and weight of the supervised tokens only, flat; the last two are constants."""
    if logits.shape[:-1] != labels.shape:
        raise TrainingError(
            f"The logits' shape {tuple(logits.shape)} does not fit the labels' shape "
            f"{tuple(labels.shape)}; expected {(*labels.shape, 'vocabulary')}."
        )
    supervised = labels != IGNORE
    places = places or completion_places(labels)
    # Picking the tokens first keeps whatever stands in the padding, even NaN, out of everything.
    z = logits[supervised]
    z, y = z.to(torch.promote_types(z.dtype, torch.float32)), labels[supervised]
    with torch.no_grad():
        log_p = -cross_entropy(z, y, reduction="none")
        weight = token_weights(spec, log_p, places.position[supervised], places.length[supervised])
    tempered = cross_entropy(z / spec.temperature, y, reduction="none")
    return weight * spec.temperature * tempered, log_p, weight
