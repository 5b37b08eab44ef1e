"""Hill numbers: the effective number of different responses, of any order."""

from __future__ import annotations

import math

import numpy as np

from tofu_eval.core.errors import ConfigError
from tofu_eval.metrics._classes import FLAVOURS, Labels, counts_of, expected_classes
from tofu_eval.metrics.base import GROWS, metric


def hill_number(labels: Labels, *, q: float) -> float:
    """Effective number of different responses.

    Formula: (sum p^q)^(1 / (1 - q)), p the shares of the classes; exp(-sum p log p) for q = 1.
    Args:
        labels: a class for each of the n responses, or the responses themselves.
        q: order, 0 <= q <= inf; 0 counts the classes, 2 is the inverse Simpson index, inf the
            inverse of the largest share.
    Returns: a count in [1, n]; 1 = all the same, n = no two the same. Of the sample as it is:
        compare at equal n, or use distinct_at_k, chao1 or collision_probability.
    Undefined: fewer than two responses, or an equivalence that was not decided.
    Source: Hill, Ecology 54 (1973).
    """
    if not q >= 0:
        raise ConfigError(f"hill_number: q must be at least 0, got {q}.")
    counts = counts_of(labels)
    p = counts / counts.sum()
    if math.isinf(q):
        number = 1.0 / float(p.max())
    elif math.isclose(q, 1.0, abs_tol=1e-8):
        number = math.exp(-float(p @ np.log(p)))
    else:
        number = float(np.power(p, q).sum()) ** (1.0 / (1.0 - q))
    return min(float(counts.sum()), max(1.0, number))


def classes_at(labels: Labels, *, k: int, q: float) -> float:
    """The mean of the Hill number of order 0 over all subsets of k responses: of the classes.

    Of the other orders it has no closed form: they are powers of a sum, and are drawn.
    """
    return expected_classes(counts_of(labels), len(labels), k)


for _suffix, _need, _cost in FLAVOURS:
    for _q in (0, 1, 2):
        metric(
            name=f"hill_number_q{_q}{_suffix}",
            level="group",
            direction="higher",
            range=("1", "n"),
            cost=_cost,
            needs=(_need,),
            paper="doi:10.2307/1934352",
            bias=GROWS,
            settings={"q": float(_q)},
            length_sensitive=_need == "text",
            at_count=classes_at if _q == 0 else None,
        )(hill_number)
