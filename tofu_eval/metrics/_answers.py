"""What the metrics of verified answers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError


def verdicts(correct: ArrayLike) -> NDArray[np.float64]:
    """(n,) verdicts as floats: 1, 0 or NaN.

    Raises:
        MetricInputError: there are none.
    """
    marks = np.asarray(correct, dtype=np.float64).reshape(-1)
    if marks.size == 0:
        raise MetricInputError("no responses")
    return marks
