"""Responses as classes: equal texts, or what the feature "equivalence" takes for the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import comb
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


def expected_sum(
    counts: NDArray[np.int64], n: int, k: int, of_count: Callable[[NDArray[np.int64]], Any]
) -> float:
    """The mean over all subsets of k of n responses of a sum over classes.

    Formula: sum over classes of E[f(J)], J hypergeometric: of c of n responses, J are among the k.

    Args:
        counts: the sizes of the classes; together at most n.
        n: responses.
        k: of them, 1 <= k <= n.
        of_count: f of whole numbers (m,) >= 0; f(0) is 0.
    """
    from scipy.special import gammaln

    def log_choose(n: Any, k: Any) -> Any:
        return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)

    sizes, times = np.unique(counts, return_counts=True)
    size, taken = sizes[:, None], np.arange(1, k + 1)[None, :]
    possible = (taken <= size) & (k - taken <= n - size)
    taken_in, size_in = np.broadcast_arrays(taken, size)
    j, c = taken_in[possible], size_in[possible]
    chance = np.exp(log_choose(c, j) + log_choose(n - c, k - j) - log_choose(n, k))
    weights = np.broadcast_to(times[:, None], possible.shape)[possible]
    return float(np.sum(weights * chance * of_count(j)))


def expected_classes(counts: NDArray[np.int64], n: int, k: int) -> float:
    """How many classes k of n responses show on average.

    Formula: sum over classes of 1 - C(n - c, k) / C(n, k), c the size of the class.
    Source: Hurlbert, Ecology 52 (1971).
    """
    sizes, times = np.unique(counts, return_counts=True)
    every = comb(n, k)
    # In whole numbers, so that classes of their own give exactly k.
    shown = sum(
        int(time) * (every - comb(n - int(size), k))
        for size, time in zip(sizes, times, strict=True)
    )
    return shown / every


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
