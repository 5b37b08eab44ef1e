"""pass@k: is one of k responses correct?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._answers import verdicts
from tofu_eval.metrics.base import metric

ORDERS = (1, 2, 3, 4, 5, 8, 10, 16, 32, 50, 64, 100)
"""The k that are registered; `find` makes any other by its name."""


def pass_at_k(correct: ArrayLike, *, k: int) -> float:
    """Probability that at least one of k responses is correct.

    Formula: 1 - C(n - c, k) / C(n, k) = 1 - prod over i = n - c + 1 … n of (1 - k / i), c of the
        n responses correct: the mean over all subsets of k, unbiased.
    Args:
        correct: (n,) verdicts, n >= k: 1, 0, or NaN for an answer that cannot be read (wrong).
        k: size of the subset, k >= 1.
    Returns: a probability in [0, 1]; higher is better. pass_at_1 is accuracy.
    Undefined: no responses, or fewer than k.
    """
    values = verdicts(correct)
    n, c = len(values), int((values == 1).sum())
    if n < k:
        raise MetricInputError(f"fewer than {k} responses ({n})")
    if n - c < k:
        return 1.0
    return float(1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)))


def register(k: int) -> None:
    """Make `pass_at_K` a metric."""
    metric(
        name=f"pass_at_{k}",
        level="group",
        direction="higher",
        range=("0", "1"),
        cost="cpu",
        needs=("correct",),
        paper="arXiv:2107.03374",
        measures="quality",
        settings={"k": k},
    )(pass_at_k)


for _k in ORDERS:
    register(_k)
