"""Losses that look at more than the target's own probability.

At the entropy or the concentration of the whole next-token distribution, at its largest entries,
or at a reference model; and those whose target is not the label alone. What would need the whole
distribution of another model, such as a KL divergence to it, is no `LossSpec`: its gradient needs
that model's logits beside the tile.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tofu_eval.training.losses import LossSpec, TokenStats, check_number, loss


def _ones(stats: TokenStats) -> Tensor:
    return torch.ones_like(stats.log_p)


@loss(name="eaft", paper="arXiv:2601.02151")
def eaft(alpha: float = 1.0, top: float = 20.0) -> LossSpec:
    """Entropy-adaptive fine-tuning: tokens of which the model is sure are left as they are.

    Formula: w = (H / ln K)^α, β = 1.
    Args:
        alpha: α >= 0; 0 is cross-entropy.
        top: K > 1, what H is measured against.
    Departs: the paper takes H of the K likeliest tokens, made to sum to one, to save memory, and
        finds it all but equal (correlation 0.999) to that of all; here H is of all of them, so
        that w is above 1 where H is above ln K. The formula is the one of the authors' page; K
        and α are those of their code.
    """
    check_number("eaft: alpha", alpha, ">= 0", alpha >= 0)
    check_number("eaft: top", top, "> 1", top > 1)
    return LossSpec("eaft", lambda stats: (stats.entropy.clamp(min=0) / math.log(top)) ** alpha)


@loss(name="deft", paper="arXiv:2602.11424")
def deft() -> LossSpec:
    """Dynamic entropy fine-tuning: the p^α family, with α from how concentrated the model is.

    Formula: w = p^α with α = Σ p², β = 1; the gradient of (1 - p^α) / α with α held fixed.
    Departs: the formula is the one in the authors' code, which adds 1e-6 to the divisor α; here
        there is no divisor. The value is -w log p.
    """
    return LossSpec("deft", lambda stats: (stats.collision * stats.log_p).exp())


@loss(name="psft", paper="arXiv:2508.17784")
def psft(epsilon: float = 0.28) -> LossSpec:
    """Proximal fine-tuning: a token that has gained enough on the old policy is left alone.

    Formula: w = r where r = p / p_old < 1 + ε, else 0, β = 1; the gradient of
        -min(r, clip(r, 1-ε, 1+ε)).
    Args:
        epsilon: ε > 0; the upper bound, which is the only one that ever holds.
    Departs: the paper's old policy is the one before each round of updates; here it is the model
        before training, for the whole training: the base under an adapter, or a column that is
        made once. The value is -w log p. ε is that of the authors' script.
    """
    check_number("psft: epsilon", epsilon, "> 0", epsilon > 0)

    def weight(stats: TokenStats) -> Tensor:
        gain = stats.log_p - stats.reference  # there is one: it is asked for
        return torch.where(gain < math.log1p(epsilon), gain, -math.inf).exp()

    return LossSpec("psft", weight, reference=True)


@loss(name="sed", paper="arXiv:2602.07464")
def sed(strength: float = 1.0, top: float = 2.0, threshold: float = 0.95) -> LossSpec:
    """SED-SFT: where several tokens are open, one that is nearly sure is held back.

    Formula: w = 1 - λ m p (2p - 1), β = 1, with m = 1 where the K likeliest tokens have less than
        the threshold together, else 0; the gradient of -log p + λ m (p² - p + 1/4).
    Args:
        strength: λ in [0, 1]; 0 is cross-entropy, and above 1 a weight might be negative.
        top: K >= 1, a whole number.
        threshold: in [0, 1]; 0 is cross-entropy.
    Departs: of the paper only the abstract could be read, which says an entropy term and a mask;
        the formula is the one in the authors' code, where a square stands for the entropy of the
        target's own probability. There the threshold is set from held-out data; here it is
        given, its default that of their class. The value is -w log p.
    """
    check_number("sed: strength", strength, ">= 0 and <= 1", 0 <= strength <= 1)
    check_number("sed: top", top, ">= 1 and whole", top >= 1 and top == int(top))
    check_number("sed: threshold", threshold, ">= 0 and <= 1", 0 <= threshold <= 1)

    def weight(stats: TokenStats) -> Tensor:
        p = stats.log_p.exp()
        chosen = stats.top.exp().sum(-1) < threshold
        return 1 - torch.where(chosen, strength * p * (2 * p - 1), 0.0)

    return LossSpec("sed", weight, top=int(top))


@loss(name="confidence-penalty", paper="arXiv:1701.06548")
def confidence_penalty(strength: float = 0.1) -> LossSpec:
    """Cross-entropy less a share of the entropy, which every token is thus paid for.

    Formula: -log p - c H, w = 1, β = 1.
    Args:
        strength: c >= 0; 0 is cross-entropy.
    """
    check_number("confidence-penalty: strength", strength, ">= 0", strength >= 0)
    return LossSpec(
        "confidence-penalty",
        _ones,
        entropy=lambda stats: torch.full_like(stats.log_p, strength),
    )


@loss(name="label-smoothing", paper="arXiv:1512.00567")
def label_smoothing(epsilon: float = 0.1) -> LossSpec:
    """Cross-entropy to a target that leaves a share to every token alike.

    Formula: w = 1, β = 1, target (1-ε) onehot + ε/V.
    Args:
        epsilon: ε in [0, 1); 0 is cross-entropy.
    """
    check_number("label-smoothing: epsilon", epsilon, ">= 0 and < 1", 0 <= epsilon < 1)

    def target(log_q: Tensor, y: Tensor) -> Tensor:
        share = torch.full_like(log_q, epsilon / log_q.shape[-1])
        return share.scatter_add_(1, y[:, None], torch.full_like(log_q[:, :1], 1 - epsilon))

    return LossSpec("label-smoothing", _ones, target=target)


@loss(name="gem-logsigmoid", paper="arXiv:2408.16673")
def gem_logsigmoid(beta: float = 0.7, slope: float = 0.01) -> LossSpec:
    """GEM with h = log sigmoid: tokens count the more, the likelier than the target they are.

    Formula: with q = softmax(z/β) and s = sigmoid(slope · (z - z_y)), both held fixed, the
        gradient of Σ s q log(p / p_y): w = 1, and the target (1-s) q + (Σ s q) onehot.
    Args:
        beta: β > 0; smaller is flatter.
        slope: > 0; what differences of logits are multiplied by.
    Departs: the formula, with its slope, is the one in the authors' code; the paper's value and
        this surrogate's differ, the gradients do not.
    """
    check_number("gem-logsigmoid: slope", slope, "> 0", slope > 0)

    def target(log_q: Tensor, y: Tensor) -> Tensor:
        ahead = log_q - log_q.gather(1, y[:, None])
        q, s = log_q.exp(), torch.sigmoid(slope * beta * ahead)
        moved = (s * q).sum(-1, keepdim=True)
        return ((1 - s) * q).scatter_add_(1, y[:, None], moved)

    return LossSpec("gem-logsigmoid", _ones, beta, target=target)
