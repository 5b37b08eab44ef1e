"""What a language model says of responses, as metrics take it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics._arrays import need_two


@dataclass(frozen=True)
class Read:
    """Responses after their prompt: surprise in nats, tokens and bytes, (n,) each."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.float64]
    bytes: NDArray[np.float64]

    @property
    def bits_per_byte(self) -> NDArray[np.float64]:
        """Surprise of each response in bits a byte."""
        bits: NDArray[np.float64] = self.nats / self.bytes / np.log(2)
        return bits


def read_likelihood(likelihood: ArrayLike) -> Read:
    """The columns of the feature "likelihood".

    Raises:
        MetricInputError: no responses, or one that has no token or is not finite.
    """
    rows = np.asarray(likelihood, dtype=np.float64).reshape(-1, 3)
    if not len(rows):
        raise MetricInputError("no responses")
    if not np.isfinite(rows).all() or (rows[:, 1:] < 1).any():
        raise MetricInputError("a response that the language model has no token of")
    return Read(-rows[:, 0], rows[:, 1], rows[:, 2])


def surprise_curve(surprise: ArrayLike) -> NDArray[np.float64]:
    """Surprise of the k-th response after the prompt and k - 1 others, bits a byte, (n,).

    The mean over orders of nats / bytes / log 2 of the response at place k.

    Args:
        surprise: (n, 1 + 2 orders): bytes; for each order, place and log-probability in nats.
    Raises:
        MetricInputError: fewer than two responses, or too many for the model to read at once.
    """
    rows = np.asarray(surprise, dtype=np.float64)
    need_two(rows)
    if not np.isfinite(rows).all():
        raise MetricInputError(
            "all responses together are longer than the language model reads at once "
            "(--likelihood-window)"
        )
    curve = np.zeros(len(rows))
    orders = (rows.shape[1] - 1) // 2
    for order in range(orders):
        places, nats = rows[:, 1 + 2 * order].astype(int), rows[:, 2 + 2 * order]
        np.subtract.at(curve, places, nats / rows[:, 0] / np.log(2) / orders)
    return curve
