"""How much of the responses stands in the training data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics.base import metric


@metric(
    name="training_overlap",
    level="group",
    direction="none",
    range=("0", "1"),
    cost="cpu",
    needs=("training_ngrams",),
    measures="style",
    paper="arXiv:2111.09509",
)
def training_overlap(counts: ArrayLike) -> float:
    """Share of the responses' n-grams that stand in the training data's completions.

    Formula: sum_i found_i / sum_i n-grams_i, n = 5 words unless --training-ngram says otherwise.
    Args:
        counts: (n, 2): of each response, its n-grams that the data has, and all its n-grams.
    Returns: a share in [0, 1]; 0 = nothing of it was seen in a row, 1 = all was. Compare it with
        that of answers by people or by the base model: common phrases stand everywhere.
    Undefined: no response has so many words.
    Departs: RAVEN's novelty is 1 minus this, for each n of its own.
    """
    rows = np.asarray(counts, dtype=np.float64).reshape(-1, 2)
    found, total = rows.sum(axis=0)
    if total == 0:
        raise MetricInputError("no response has as many words as an n-gram")
    return float(found / total)
