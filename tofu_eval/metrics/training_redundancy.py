"""How much of the responses' surprise the training data takes away."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._likelihood import read_likelihood
from tofu_eval.metrics.base import metric

PAPER = "arXiv:2606.01811"


@metric(
    name="training_redundancy",
    level="group",
    direction="none",
    range=("-inf", "1"),
    cost="model",
    needs=("likelihood", "training_likelihood"),
    measures="style",
    paper=PAPER,
)
def training_redundancy(likelihood: ArrayLike, training: ArrayLike) -> float:
    """The share of the responses' surprise that their nearest training rows take away.

    Formula: 1 - sum_i h(r_i | rows, prompt) / sum_i h(r_i | prompt), h = -log P, the rows those
        whose completions are most like r_i (--training-neighbours, 3).
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
        training: (n, 2): nats after the nearest rows, and after random ones.
    Returns: a share, at most 1: near 1 = copied from the data, 0 = the data says nothing of it.
        Read it beside training_redundancy_random, and beside the base model's: a language model
        learns the manner of any rows that it is shown.
    Undefined: no responses, one that the model has no token of, or all of them certain.
    Departs: the paper has redundancy between responses; here it is with the training data.
    """
    return _share(likelihood, training, 0)


@metric(
    name="training_redundancy_random",
    level="group",
    direction="none",
    range=("-inf", "1"),
    cost="model",
    needs=("likelihood", "training_likelihood"),
    measures="style",
    paper=PAPER,
)
def training_redundancy_random(likelihood: ArrayLike, training: ArrayLike) -> float:
    """The share of the responses' surprise that as many random training rows take away.

    Formula: 1 - sum_i h(r_i | random rows, prompt) / sum_i h(r_i | prompt), h = -log P.
    Args:
        likelihood: (n, 3): log-probability in nats, tokens and bytes of each response.
        training: (n, 2): nats after the nearest rows, and after random ones.
    Returns: a share, at most 1. Where it is about that of the nearest rows, the responses are
        narrowed to the manner of the data; where it is far below, they come from single rows.
    Undefined: no responses, one that the model has no token of, or all of them certain.
    Departs: the paper has redundancy between responses; here it is with the training data.
    """
    return _share(likelihood, training, 1)


def _share(likelihood: ArrayLike, training: ArrayLike, column: int) -> float:
    alone = read_likelihood(likelihood).nats.sum()
    if not alone > 0:
        raise MetricInputError("responses that are certain after their prompt")
    after = -np.asarray(training, dtype=np.float64).reshape(-1, 2)[:, column].sum()
    return float(1.0 - after / alone)
