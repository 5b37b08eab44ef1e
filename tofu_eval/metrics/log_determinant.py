"""Log-determinant of the responses' similarity kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._arrays import spectrum
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="log_determinant",
    level="group",
    direction="higher",
    range=("0", "n"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:1207.6083",
    bias=GROWS,
)
def log_determinant(embeddings: ArrayLike) -> float:
    """Volume that the responses' embeddings span, in bits.

    Formula: log2 det(I + X X^T), rows of X of unit length: the normaliser of the determinantal
        point process with the cosine kernel.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: bits in [log2(n + 1), n]; the lower end = all the same direction, n = orthogonal. It
        is a volume, not a mean: one more response raises it, even one that is a copy, so compare
        at equal n only.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    Departs: arXiv:2509.04784 takes log det(X X^T), which is minus infinity as soon as two
        responses are the same or n > d; with I added, such a group can still be compared.
    """
    p, n = spectrum(embeddings)
    bits = float(np.log1p(p * n).sum()) / math.log(2.0)
    return min(float(n), bits)
