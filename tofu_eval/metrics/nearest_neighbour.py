"""Distance of each response's embedding to its nearest neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._arrays import unit_pairs
from tofu_eval.metrics.base import FALLS, metric


@metric(
    name="nearest_neighbour_distance",
    level="group",
    direction="higher",
    range=("0", "2"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:2004.02990",
    bias=FALLS,
)
def nearest_neighbour_distance(embeddings: ArrayLike) -> float:
    """How far in meaning a response is from the one most like it, on average.

    Formula: (1/n) sum_i min over j != i of 1 - cos(x_i, x_j).
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: a mean in [0, 2]; 0 = each response has a copy, 1 = orthogonal. Falls as n grows, so
        compare at equal n.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    """
    total, n = 0.0, 0
    for first, cosines in unit_pairs(embeddings):
        here = np.arange(len(cosines))
        cosines[here, first + here] = -np.inf
        total += float((1.0 - cosines.max(axis=1)).clip(0.0, 2.0).sum())
        n += len(cosines)
    return total / n
