"""What several metrics ask of their inputs."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.errors import MetricInputError


def need_two(responses: Sized) -> None:
    """Diversity is about how responses differ: it takes two.

    Raises:
        MetricInputError: there are fewer than two responses.
    """
    if len(responses) < 2:
        raise MetricInputError(f"fewer than two responses ({len(responses)})")


def unit_rows(embeddings: ArrayLike) -> NDArray[np.float64]:
    """A copy of (n, d) embeddings in float64, each row divided by its length.

    Raises:
        MetricInputError: n < 2, a number that is not finite, or a row of zeros.
    """
    rows: NDArray[np.float64] = np.array(embeddings, dtype=np.float64)
    if rows.ndim != 2:
        raise MetricInputError(f"embeddings of shape {rows.shape}, expected (n, d)")
    need_two(rows)
    if not np.isfinite(rows).all():
        raise MetricInputError("an embedding with NaN or infinite numbers")
    # Scaled first, so that squaring overflows and underflows nowhere.
    peaks = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    if not peaks.all():
        raise MetricInputError("an embedding of zeros, which has no direction")
    rows /= peaks
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
