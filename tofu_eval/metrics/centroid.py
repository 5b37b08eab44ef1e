"""Distance of the responses' embeddings to their centroid."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._arrays import unit_sum
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="centroid_distance",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:2004.02990",
    bias=GROWS,
)
def centroid_distance(embeddings: ArrayLike) -> float:
    """How far in meaning a response is from the responses' common direction on average.

    Formula: mean_i of 1 - cos(x_i, c) = 1 - |c|, c = (1/n) sum_i x_i, rows x_i of unit length;
        O(n d).
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: a mean in [0, 1]; 0 = all the same direction, 1 - 1/sqrt(n) = orthogonal, 1 = the
        directions cancel out. It grows with n, so compare at equal n.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    """
    total, n = unit_sum(embeddings)
    return min(1.0, max(0.0, 1.0 - float(np.linalg.norm(total)) / n))
