"""What a judge says of the responses: mean rating, and how much it agrees with itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics.base import metric


@metric(
    name="judge_rating",
    level="group",
    direction="higher",
    range=("0", "5"),
    cost="model",
    needs=("judge",),
    paper="arXiv:2306.05685",
    measures="quality",
)
def judge_rating(ratings: ArrayLike) -> float:
    """Mean rating of a prompt's responses by a judge.

    Formula: mean over the responses of the mean of a response's ratings.
    Args:
        ratings: (n, r) whole numbers from 0 to 5, r judgements of each of n responses; NaN where
            a judgement cannot be read. Such a one is left out, never 0; `judge_unparsable_rate`
            counts them.
    Returns: a mean in [0, 5]; higher is better. Compare only values of one judge and rubric.
    Undefined: no response has a rating that can be read.
    """
    given = _ratings(ratings)
    readable = ~np.isnan(given)
    rated = readable.any(axis=1)
    if not rated.any():
        raise MetricInputError(f"no rating of {len(given)} responses can be read")
    sums = np.where(readable, given, 0.0).sum(axis=1)[rated]
    return float(np.mean(sums / readable.sum(axis=1)[rated]))


@metric(
    name="judge_rating@2605.00195",
    level="group",
    direction="higher",
    range=("0", "5"),
    cost="model",
    needs=("judge_total",),
    paper="arXiv:2605.00195",
    measures="quality",
)
def judge_rating_at_2605_00195(ratings: ArrayLike) -> float:
    """The mean total rating that arXiv:2605.00195 reports.

    Formula: mean of the ratings of a prompt's responses that can be read.
    Args:
        ratings: (n, r) numbers from 0 to 5, r judgements of each of n responses; NaN where there
            is no `Total rating:`, or one outside the scale, which is left out.
    Returns: a mean in [0, 5]; higher is better. Compare only values of one judge and rubric.
    Undefined: no response has a rating that can be read.
    Reproduces: evaluation/evaluation_quality.py of the paper's repository, with the rubric of
        `--judge-total-template FILE` (docs/paper.md says where theirs stands). It takes the first
        total rating of an answer, a fraction too, so that one which the judge quotes from the
        response counts, and answers that are cut before their rating are left out unseen.
    """
    given = _ratings(ratings)
    readable = given[~np.isnan(given)]
    if not len(readable):
        raise MetricInputError(f"no rating of {len(given)} responses can be read")
    return float(readable.mean())


@metric(
    name="judge_unparsable_rate",
    level="group",
    direction="lower",
    range=("0", "1"),
    cost="model",
    needs=("judge",),
    paper="arXiv:2306.05685",
    measures="quality",
)
def judge_unparsable_rate(ratings: ArrayLike) -> float:
    """Share of the judgements that cannot be read.

    Formula: NaN ratings / n r.
    Args:
        ratings: (n, r) ratings, NaN where a judgement does not end as the rubric asks.
    Returns: a share in [0, 1]; lower is better. It says how far `judge_rating` can be trusted.
    Undefined: no responses.
    """
    return float(np.isnan(_ratings(ratings)).mean())


@metric(
    name="judge_agreement",
    level="corpus",
    direction="higher",
    range=("-inf", "1"),
    cost="model",
    needs=("judge",),
    paper="doi:10.1111/j.1468-2958.2004.tb00738.x",
    measures="quality",
)
def judge_agreement(ratings: ArrayLike) -> float:
    """Krippendorff's alpha of repeated judgements, for ordinal data.

    Formula: 1 - (N - 1) sum_u sum_{i<j in u} d(i, j) / (m_u - 1) / sum_{c<k} n_c n_k d(c, k), u the
        responses with m_u >= 2 readable ratings, n_c how often these are c, N of all, and
        d(c, k) = (sum of n_g from g = c to k - (n_c + n_k) / 2)^2.
    Args:
        ratings: (n, r) whole numbers, r judgements of each of n responses; NaN is left out.
    Returns: 1 where the judgements of every response agree, 0 where they agree no more than by
        chance; below 0.67 a rating is seldom worth reading.
    Undefined: no response has two readable ratings, or all ratings are the same: alpha knows no
        chance agreement then.
    """
    given = _ratings(ratings)
    units = [row[~np.isnan(row)] for row in given]
    units = [row for row in units if len(row) > 1]
    if not units:
        raise MetricInputError("no response has two readable ratings: --judge-repeats 2 or more")
    values, counts = np.unique(np.concatenate(units), return_counts=True)
    if len(values) == 1:
        raise MetricInputError(f"all readable ratings are {values[0]:g}")
    # Ranks: what lies between the middles of two values, in numbers of ratings.
    ranks = np.cumsum(counts) - counts / 2
    observed = sum(_squares(ranks[np.searchsorted(values, row)]) / (len(row) - 1) for row in units)
    expected = _squares(np.repeat(ranks, counts))
    return float(1 - (counts.sum() - 1) * observed / expected)


@metric(
    name="judge_exact_agreement",
    level="group",
    direction="higher",
    range=("0", "1"),
    cost="model",
    needs=("judge",),
    paper="arXiv:2306.05685",
    measures="quality",
)
def judge_exact_agreement(ratings: ArrayLike) -> float:
    """Share of the pairs of judgements of one response that are the same number.

    Formula: mean over the responses of equal pairs / pairs, among readable ratings.
    Args:
        ratings: (n, r) whole numbers, r judgements of each of n responses; NaN is left out.
    Returns: a share in [0, 1]; higher is more agreement, some of which chance would give too.
    Undefined: no response has two readable ratings.
    """
    shares = []
    for row in _ratings(ratings):
        _, counts = np.unique(row[~np.isnan(row)], return_counts=True)
        n = counts.sum()
        if n > 1:
            shares.append((counts * (counts - 1)).sum() / (n * (n - 1)))
    if not shares:
        raise MetricInputError("no response has two readable ratings: --judge-repeats 2 or more")
    return float(np.mean(shares))


def _ratings(given: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(given, dtype=np.float64)
    if rows.size == 0:
        raise MetricInputError("no responses")
    rows = rows.reshape(len(rows), -1)
    if np.isinf(rows).any():
        raise MetricInputError("a rating that is infinite")
    return rows


def _squares(values: NDArray[np.float64]) -> float:
    """Sum of (x - y)^2 over all pairs: n sum x^2 - (sum x)^2, from the mean for precision."""
    return float(len(values) * np.square(values - values.mean()).sum())
