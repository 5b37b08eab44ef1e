"""Embeddings given the prompt: how responses differ beyond what they all share with the prompt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two, unit_vectors
from tofu_eval.metrics.base import GROWS, metric
from tofu_eval.metrics.cosine import mean_pairwise_cosine_distance
from tofu_eval.metrics.vendi import vendi

COMPONENT = 0.3
"""The component along the prompt that every response is given; docs/metrics.md says why 0.3."""

ECHO = 1e-4
"""A response whose unit vector is this close to the prompt's, or to that of a part of it, repeats
the prompt."""


def fix_prompt_component(
    embeddings: ArrayLike, prompt: ArrayLike, component: float = COMPONENT
) -> NDArray[np.float64]:
    """Unit vectors of the responses, all with the same component along their prompt.

    Formula: x = unit(e - (e . c) c + component c), e the response's unit vector, c that of the
        prompt; of a prompt in several parts, c is the mean of the parts' unit vectors, brought to
        unit length. A component of 0 takes the prompt's direction out entirely: then what is left
        of a response that nearly repeats the prompt is mostly noise, which counts as diversity.
    Args:
        embeddings: (n, d) floats, no zero rows.
        prompt: (parts, d) floats, one row a part of the prompt that the model reads at once.
        component: a number >= 0.
    Raises:
        MetricInputError: a row of zeros or with a number that is not finite, or parts of the
            prompt that cancel out.
    """
    rows = unit_vectors(embeddings)
    centre = unit_vectors(unit_vectors(prompt).mean(axis=0, keepdims=True))[0]
    rows -= (rows @ centre)[:, None] * centre
    rows += component * centre
    if component == 0 and not np.linalg.norm(rows, axis=1).all():
        raise MetricInputError("a response is the prompt, of which nothing is left")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def repeats_prompt(embeddings: ArrayLike, prompt: ArrayLike) -> NDArray[np.bool_]:
    """Which responses have the vector of their prompt or of a part of it, (n,)."""
    rows, parts = unit_vectors(embeddings), unit_vectors(prompt)
    gaps = 2.0 - 2.0 * np.max(rows @ parts.T, axis=1)
    echoes: NDArray[np.bool_] = gaps < ECHO**2
    return echoes


def _beyond_prompt(
    function: Callable[[ArrayLike], float],
    embeddings: ArrayLike,
    prompt: ArrayLike,
    component: float,
) -> float:
    """A metric of embeddings on those given the prompt, responses that repeat it left out."""
    need_two(np.asarray(embeddings))
    echoes = repeats_prompt(embeddings, prompt)
    kept = np.asarray(embeddings)[~echoes]
    if len(kept) < 2:
        repeated = f", {int(echoes.sum())} more only repeat the prompt" if echoes.any() else ""
        raise MetricInputError(f"fewer than two responses ({len(kept)}{repeated})")
    return function(fix_prompt_component(kept, prompt, component))


@metric(
    name="cosine_distance_given_prompt",
    level="group",
    direction="higher",
    range=("0", "2"),
    cost="model",
    needs=("embedding", "prompt_embedding"),
    length_sensitive=True,
    paper="arXiv:2004.02990",
    human=0.814,
    unit="distance",
)
def cosine_distance_given_prompt(
    embeddings: ArrayLike, prompt: ArrayLike, component: float = COMPONENT
) -> float:
    """How far apart in meaning two responses are, beyond what both share with the prompt.

    Formula: mean over all pairs i != j of 1 - cos(x_i, x_j), x = unit(e - (e . c) c + k c), e the
        unit vector of a response, c that of the prompt, k the component.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows.
        prompt: (parts, d) floats: the prompt, all turns but the system's joined by a blank line;
            of one that is longer than the model reads, its windows, whose mean is c.
        component: k >= 0, the same for every response; 0 is a partial correlation.
    Returns: a mean in [0, n / (n - 1)]; 0 = all the same, 1 / (1 + k^2) = orthogonal to each
        other and to the prompt.
    Undefined: fewer than two responses that do not repeat the prompt; a prompt without text; a
        row of zeros or with a number that is not finite.
    Departs: the paper's distance has k = e . c, what the prompt and a response share. A response
        that repeats the prompt is left out; prompt_echo_rate counts such.
    """
    return _beyond_prompt(mean_pairwise_cosine_distance, embeddings, prompt, component)


@metric(
    name="vendi_given_prompt",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding", "prompt_embedding"),
    length_sensitive=True,
    paper="arXiv:2210.02410",
    human=0.807,
    unit="effective responses",
    bias=GROWS,
)
def vendi_given_prompt(
    embeddings: ArrayLike, prompt: ArrayLike, component: float = COMPONENT
) -> float:
    """Effective number of distinct responses, beyond what all share with the prompt.

    Formula: exp(-sum p log p), p the eigenvalues of X X^T / n, rows x = unit(e - (e . c) c + k c)
        as in cosine_distance_given_prompt.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows.
        prompt: (parts, d) floats, as in cosine_distance_given_prompt.
        component: k >= 0, the same for every response.
    Returns: a count in [1, n]; 1 = all the same direction.
    Undefined: fewer than two responses that do not repeat the prompt; a prompt without text; a
        row of zeros or with a number that is not finite.
    Departs: the paper takes the responses' vectors as they are.
    """
    return _beyond_prompt(vendi, embeddings, prompt, component)


@metric(
    name="prompt_echo_rate",
    level="group",
    direction="none",
    range=("0", "1"),
    cost="model",
    needs=("embedding", "prompt_embedding"),
    paper="arXiv:1904.09751",
    measures="quality",
)
def prompt_echo_rate(embeddings: ArrayLike, prompt: ArrayLike) -> float:
    """Share of responses that only repeat the prompt: what the metrics given the prompt leave out.

    Formula: |{i : |e_i - c_p| < 1e-4 for a part p of the prompt}| / n, unit vectors.
    Args:
        embeddings: (n, d) floats, n >= 1, no zero rows.
        prompt: (parts, d) floats, as in cosine_distance_given_prompt.
    Returns: a share in [0, 1].
    Undefined: no response; a prompt without text; a row of zeros or not finite.
    """
    if not len(np.asarray(embeddings)):
        raise MetricInputError("no responses")
    return float(repeats_prompt(embeddings, prompt).mean())
