"""The Vendi score: the effective number of distinct responses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import ConfigError
from tofu_eval.metrics._arrays import spectrum, unit_rows
from tofu_eval.metrics.base import GROWS, metric


@metric(
    name="vendi",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding",),
    paper="arXiv:2210.02410",
    human=0.770,
    unit="effective responses",
    bias=GROWS,
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
    p, n = spectrum(embeddings)
    logs = np.log(p)
    top = float(logs.max())
    if math.isinf(q):
        entropy = -top
    elif math.isclose(q, 1.0, abs_tol=1e-8):
        entropy = -float(np.exp(logs) @ logs)
    else:
        # The largest term is taken out, so that a large q does not underflow.
        entropy = (q * top + math.log(float(np.exp(q * (logs - top)).sum()))) / (1.0 - q)
    return min(float(n), max(1.0, math.exp(entropy)))


for _name, _q in (("0.5", 0.5), ("2.0", 2.0), ("inf", math.inf)):
    metric(
        name=f"vendi_q{_name}",
        level="group",
        direction="higher",
        range=("1", "n"),
        cost="model",
        needs=("embedding",),
        length_sensitive=True,
        paper="arXiv:2310.12952",
        bias=GROWS,
        settings={"q": _q},
    )(vendi)


@metric(
    name="vendi@2604.16027",
    level="group",
    direction="higher",
    range=("1", "n"),
    cost="model",
    needs=("embedding",),
    paper="arXiv:2604.16027",
    bias=GROWS,
    length_sensitive=True,
)
def vendi_clipped(embeddings: ArrayLike) -> float:
    """Vendi score as arXiv:2604.16027 reports it; give it its own encoder.

    Formula: exp(-sum p log p), p the eigenvalues of X X^T / n, each at least 1e-12, with
        --embedding-model sentence-transformers/all-mpnet-base-v2.
    Args:
        embeddings: (n, d) floats, n >= 2, no zero rows; rows are brought to unit length.
    Returns: a count in [1, n]; 1 = all the same direction, n = orthogonal.
    Undefined: fewer than two responses, a row of zeros or with a number that is not finite.
    Reproduces: eigenvalues of 0 are raised to 1e-12, which adds n · 3e-11 nats at most; the
        published code reports 1 for fewer than two responses, here that is undefined.
    """
    rows = unit_rows(embeddings)
    p = np.clip(np.linalg.eigvalsh(rows @ rows.T / len(rows)), 1e-12, None)
    return min(float(len(rows)), max(1.0, math.exp(-float(p @ np.log(p)))))
