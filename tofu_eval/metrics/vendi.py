"""The Vendi score: the effective number of distinct responses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.errors import ConfigError
from tofu_eval.metrics._arrays import unit_rows
from tofu_eval.metrics.base import metric


@metric(
    name="vendi",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding",),
    paper="arXiv:2210.02410",
    length_sensitive=True,
)
def vendi(embeddings: ArrayLike, q: float = 1.0) -> float:
    """Effective number of distinct responses.

    Formula: exp(H_q(p)), p the eigenvalues of X X^T / n, rows of X of unit length;
        H_q = log(sum p^q) / (1 - q), H_1 = -sum p log p, H_inf = -log max p.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
        q: Rényi order, 0 < q <= inf; small q counts rare responses more (arXiv:2310.12952).
    Returns: a count in [1, n]; 1 = all the same direction, n = orthogonal.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    Departs: the reference package ignores q in score_X; q counts here.
    """
    if not q > 0:
        raise ConfigError(f"vendi: q must be above 0, got {q}.")
    rows = unit_rows(embeddings)
    n, d = rows.shape
    # X X^T and X^T X have the same non-zero eigenvalues: take the smaller.
    gram = rows @ rows.T if n <= d else rows.T @ rows
    p = np.linalg.eigvalsh(gram / n)
    # What rounding leaves of a zero would count for small q: 1e-16 ** 0.1 is 0.03.
    p = p[p > p.max() * max(n, d) * np.finfo(np.float64).eps]
    logs = np.log(p / p.sum())
    top = float(logs.max())
    if math.isinf(q):
        entropy = -top
    elif math.isclose(q, 1.0, abs_tol=1e-8):
        entropy = -float(np.exp(logs) @ logs)
    else:
        # The largest term is taken out, so that a large q does not underflow.
        entropy = (q * top + math.log(float(np.exp(q * (logs - top)).sum()))) / (1.0 - q)
    return min(float(n), max(1.0, math.exp(entropy)))
