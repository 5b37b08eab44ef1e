"""Effective rank of the responses' embeddings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.metrics._arrays import spectrum
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="effective_rank",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding",),
    length_sensitive=True,
    paper="arXiv:2210.02885",
    bias=GROWS,
)
def effective_rank(embeddings: ArrayLike) -> float:
    """How many directions the responses' embeddings really span.

    Formula: exp(-sum s log s), s the singular values of X with sum 1, rows of X of unit length
        (Roy and Vetterli, EUSIPCO 2007). The Vendi score takes their squares instead.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: a count in [1, min(n, d)]; 1 = all the same direction, n = orthogonal.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    Departs: the paper adds 1e-7 to each s; here a singular value of 0 adds nothing.
    """
    p, n = spectrum(embeddings)
    s = np.sqrt(p)
    s /= s.sum()
    return min(float(n), max(1.0, math.exp(-float(s @ np.log(s)))))
