"""Mean pairwise cosine distance of the responses' embeddings."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tofu_eval.metrics._arrays import unit_sum
from tofu_eval.metrics.base import metric


@metric(
    name="mean_pairwise_cosine_distance",
    level="group",
    direction="higher",
    range=("0", "2"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:2004.02990",
    human=0.790,
)
def mean_pairwise_cosine_distance(embeddings: ArrayLike) -> float:
    """How far apart in meaning two responses are on average.

    Formula: 1 - (|sum_i x_i|^2 - n) / (n (n - 1)), rows x_i of unit length: the mean over all
        pairs i != j of 1 - cos(x_i, x_j), in O(n d).
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: a mean in [0, n / (n - 1)]; 0 = all the same direction, 1 = orthogonal.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    """
    total, n = unit_sum(embeddings)
    distance = 1.0 - (float(total @ total) - n) / (n * (n - 1))
    # Rounding can leave equal rows a few bits below 0.
    return max(0.0, distance)
