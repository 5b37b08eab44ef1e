"""Diversity as the surprise that is left when a language model has seen other responses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two
from tofu_eval.metrics._likelihood import read_likelihood, surprise_curve
from tofu_eval.metrics.base import FALLS, GROWS, metric

PAPER = "arXiv:2606.01811"


def surprise_at(surprise: ArrayLike, *, k: int) -> float:
    """The curve's k-th point: `conditional_surprise` of k responses."""
    return float(surprise_curve(surprise)[k - 1])


@metric(
    name="conditional_surprise",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="model",
    needs=("surprise",),
    paper=PAPER,
    unit="bits a byte",
    bias=FALLS,
    at_count=surprise_at,
)
def conditional_surprise(surprise: ArrayLike) -> float:
    """a_n: how much the last response still surprises a model that has read all the others.

    Formula: a_k = mean over orders of -log2 P(r_k | prompt, r_1 ... r_(k-1)) / bytes of r_k, the
        responses labelled "Response A: ", "Response B: " ...; the value is a_n.
    Args:
        surprise: (n, 1 + 2 orders): bytes; for each order, place and log-probability in nats.
    Returns: bits a byte, >= 0; near 0 = the last can be foretold from the others.
    Undefined: fewer than two responses, or more than the model reads at once.
    Departs: the paper draws orders by one seed for all prompts; here the texts and the run's seed
        decide. A tokenizer that begins every text with a token of its own does so here too.
    """
    return float(surprise_curve(surprise)[-1])


def excess_at(surprise: ArrayLike, *, k: int) -> float:
    """`excess_entropy` of k responses, from the curve's first k points."""
    curve = surprise_curve(surprise)[:k]
    return float((curve - curve[-1]).sum())


@metric(
    name="excess_entropy",
    level="group",
    direction="none",
    range=("-inf", "inf"),
    cost="model",
    needs=("surprise",),
    paper=PAPER,
    unit="bits a byte",
    bias=GROWS,
    at_count=excess_at,
)
def excess_entropy(surprise: ArrayLike) -> float:
    """E: how much reading some of the responses teaches a model about the others.

    Formula: sum_k (a_k - a_n), a_k as in conditional_surprise.
    Args:
        surprise: (n, 1 + 2 orders): bytes; for each order, place and log-probability in nats.
    Returns: bits a byte; 0 = nothing in common or nothing that the model can use. Responses that
        are all the same and responses of several kinds both have much, so it has no direction.
    Undefined: fewer than two responses, or more than the model reads at once.
    Departs: this is the paper's rate; its E is in whole bits, which grows with the length of text.
    """
    curve = surprise_curve(surprise)
    return float((curve - curve[-1]).sum())


@metric(
    name="coherence",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="model",
    needs=("likelihood",),
    measures="quality",
    paper=PAPER,
)
def coherence(likelihood: ArrayLike) -> float:
    """C: how probable the responses are, each alone after the prompt, a byte.

    Formula: 2^(-mean_i h_i), h_i = -log2 P(r_i | prompt) / bytes of r_i.
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
    Returns: a geometric mean probability of a byte in (0, 1]; noise has little, and so has prose
        that is only unexpected.
    Undefined: no responses, or one without a token.
    """
    return float(2.0 ** -read_likelihood(likelihood).bits_per_byte.mean())


def decan_at(likelihood: ArrayLike, surprise: ArrayLike, *, k: int) -> float:
    """`decan` of k responses: the coherence of all, the curve's k-th point."""
    return coherence(likelihood) * surprise_at(surprise, k=k)


@metric(
    name="decan",
    level="group",
    direction="higher",
    range=("0", "inf"),
    cost="model",
    needs=("likelihood", "surprise"),
    paper=PAPER,
    unit="bits a byte",
    bias=FALLS,
    at_count=decan_at,
)
def decan(likelihood: ArrayLike, surprise: ArrayLike) -> float:
    """D: surprise that is left after the other responses, discounted for noise.

    Formula: C a_n, C as in coherence, a_n as in conditional_surprise.
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
        surprise: (n, 1 + 2 orders): bytes; for each order, place and log-probability in nats.
    Returns: bits a byte, >= 0.
    Undefined: fewer than two responses, or more than the model reads at once.
    """
    return coherence(likelihood) * conditional_surprise(surprise)


@metric(
    name="pairwise_redundancy",
    level="group",
    direction="lower",
    range=("-inf", "1"),
    cost="model",
    needs=("likelihood", "redundancy"),
    paper=PAPER,
)
def pairwise_redundancy(likelihood: ArrayLike, redundancy: ArrayLike) -> float:
    """The share of a response's surprise that another response to the prompt takes away.

    Formula: mean over responses i and their partners j of 1 - h(r_i | prompt, r_j) / h(r_i |
        prompt), h the surprise -log P; two seeded partners each unless --likelihood-partners says
        otherwise.
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
        redundancy: (n, partners) log-probabilities in nats of each after each of its partners.
    Returns: a mean share, at most 1; 1 = nothing new, 0 = nothing taken away; below 0 where
        another response misleads the model.
    Undefined: fewer than two responses, a pair longer than the model reads at once, or a response
        that is certain after the prompt.
    Departs: the paper has all pairs in a matrix of information, in bits; this is our mean of the
        shares. It does not depend on the number of responses.
    """
    rows = np.asarray(redundancy, dtype=np.float64)
    need_two(rows)
    alone = read_likelihood(likelihood).nats
    if not np.isfinite(rows).all():
        raise MetricInputError(
            "two responses together are longer than the language model reads at once "
            "(--likelihood-window)"
        )
    if (alone <= 0).any():
        raise MetricInputError("a response that is certain after its prompt")
    return float((1.0 + rows / alone[:, None]).mean())
