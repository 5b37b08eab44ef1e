"""What a loss is like, asked of its factors on made-up tokens: once a loss, not in every step."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.logit_losses import token_factors
from tofu_eval.training.losses import LossSpec, TokenStats
from tofu_eval.training.tiles import exact_dtype

TOKENS = 256
"""Made-up tokens that are looked at."""

CUTS = (1, 37, 100)
"""Where they are cut to see whether the parts get what the whole gets."""


def _made_up(spec: LossSpec, device: torch.device | None = None) -> TokenStats:
    """Tokens likely and unlikely, at places early and late, where the loss will be computed."""
    stream = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.rand(TOKENS, generator=stream, dtype=torch.float64)

    log_p = -25 * draw() ** 3 - 1e-3
    length = (1 + 200 * draw()).floor()
    top = -10 * draw()[:, None] - torch.arange(spec.top, dtype=torch.float64)
    reference = log_p * 2 * draw()
    place, entropy, collision = (draw() * length).floor(), 5 * draw(), draw().clamp(min=1e-3)
    numbers = (log_p, place, length, entropy, collision, top, reference)
    device = device or log_p.device
    return TokenStats(*(x.to(exact_dtype(device, torch.float32)).to(device) for x in numbers))


def _part_of(stats: TokenStats, part: slice) -> TokenStats:
    fields = (getattr(stats, name)[part] for name in TokenStats.__dataclass_fields__)
    return TokenStats(*fields)


def _factors(spec: LossSpec, stats: TokenStats) -> list[Tensor]:
    return [factor for factor in token_factors(spec, stats) if factor is not None]


@lru_cache(maxsize=64)
def check_alone(spec: LossSpec, device: torch.device | None = None) -> None:
    """A weight that looks at other tokens would change with the tiles, without a word.

    Raises:
        TrainingError: it does.
    """
    stats = _made_up(spec, device)
    cuts = [0, *CUTS, TOKENS]
    parts = [token_factors(spec, _part_of(stats, slice(a, b))) for a, b in pairwise(cuts)]
    for whole, *pieces in zip(token_factors(spec, stats), *parts, strict=True):
        given = [piece for piece in pieces if piece is not None]
        if whole is not None and not torch.allclose(
            whole, torch.cat(given), rtol=1e-3, equal_nan=True
        ):
            raise TrainingError(
                f"The loss '{spec.name}' gives tokens weights that depend on other tokens; "
                "expected each to depend on its own token only. Use mean_loss on the full logits."
            )


@lru_cache(maxsize=64)
def drops_most(spec: LossSpec, device: torch.device | None = None) -> bool:
    """Whether it gives most tokens the weight 0."""
    weight, *factor = _factors(spec, _made_up(spec, device))
    return not factor and bool((weight == 0).double().mean() > 0.5)


@lru_cache(maxsize=64)
def looks_at_places(spec: LossSpec) -> bool:
    """Whether a factor depends on where a token stands in its completion."""
    stats = _made_up(spec)
    position = stats.length - 1 - stats.position
    elsewhere = replace(stats, position=position, length=2 * stats.length)
    pairs = zip(_factors(spec, stats), _factors(spec, elsewhere), strict=True)
    return not all(torch.equal(a, b) for a, b in pairs)


@lru_cache(maxsize=64)
def looks_at_collision(spec: LossSpec, device: torch.device | None = None) -> bool:
    """Whether a factor depends on Σ p², which is a sum over the vocabulary of its own.

    Asked with NaN in its place, from which nothing else can come.
    """
    stats = _made_up(spec, device)
    without = replace(stats, collision=torch.full_like(stats.collision, torch.nan))
    pairs = zip(_factors(spec, stats), _factors(spec, without), strict=True)
    return not all(torch.equal(a, b) for a, b in pairs)
