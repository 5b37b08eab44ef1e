"""Responses as classes: equal texts, or what the feature "equivalence" takes for the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MetricInputError

Labels = Sequence[Any] | NDArray[np.integer]
"""A class a response: whole numbers from 0 (−1: not decided), or the texts themselves."""

FLAVOURS: tuple[tuple[str, str, Literal["cpu", "model"]], ...] = (
    ("", "equivalence", "model"),
    ("_exact", "text", "cpu"),
)
"""Suffix of a metric's name, what it needs and costs: classes of equivalent responses, or of texts
that differ at most in white space at the ends."""


def labels_of(labels: Labels) -> list[Hashable]:
    """Hashable labels, one a response.

    Raises:
        MetricInputError: there is none, or the equivalence of a response was not decided.
    """
    if len(labels) == 0:
        raise MetricInputError("no responses")
    if isinstance(labels[0], str):
        return [text.strip() for text in labels]
    numbers = np.asarray(labels).reshape(-1)
    undecided = int((numbers < 0).sum())
    if undecided:
        raise MetricInputError(
            f"the equivalence of {undecided} of {len(numbers)} responses was not decided"
        )
    return [int(number) for number in numbers]


def counts_of(labels: Labels, *, least: int = 2) -> NDArray[np.int64]:
    """How many responses each class has, in order of first use.

    Raises:
        MetricInputError: fewer than `least` responses, or one that is not decided.
    """
    if len(labels) < least:
        raise MetricInputError(
            f"fewer than two responses ({len(labels)})" if least == 2 else "no responses"
        )
    return np.array(list(Counter(labels_of(labels)).values()), dtype=np.int64)
