"""How probable it is that one model beats another on a prompt drawn at random."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from tofu_eval.analysis.clusters import spread_clusters
from tofu_eval.analysis.paired import subtract_common

ROUNDING = 1e-13
"""Relative difference of two values that are the same but for rounding."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95% interval; `variance` is that of the estimate, `units` what it stands on:
    prompts, or clusters of them. None where there is no unit, no interval for fewer than two."""

    value: float | None
    low: float | None
    high: float | None
    variance: float = 0.0
    units: int = 0


def beats_share(
    ours: Mapping[Any, float | None],
    theirs: Mapping[Any, float | None],
    *,
    sign: int,
    clusters: Mapping[Any, str] | None = None,
) -> Share:
    """The probability that a model beats another on a prompt drawn at random; a tie is half.

    Args:
        ours: values by prompt.
        theirs: those of the other.
        sign: 1 where higher values are better, -1 where lower ones are.
        clusters: the cluster of each prompt, where they have any.
    Source: the probability of superiority for paired data, McGraw and Wong, Psychological Bulletin
        111, 1992.
    """
    away = subtract_common(ours, theirs)
    won = {id: 0.5 + 0.5 * sign * float(np.sign(value)) for id, value in away.items()}
    return share_of(won, clusters)


def beats_others(
    columns: Sequence[Mapping[Any, float | None]],
    *,
    sign: int,
    clusters: Mapping[Any, str] | None = None,
    untested: Collection[tuple[int, int]] = (),
) -> list[Share]:
    """For each of several models, the probability that it beats another of them, drawn at random,
    on a prompt drawn at random; a tie is half.

    Args:
        columns: values by prompt, one mapping a model.
        sign: 1 where higher values are better, -1 where lower ones are.
        clusters: the cluster of each prompt, where they have any.
        untested: places of models that are not held against one another, the smaller first.
    """
    ids = sorted(set().union(*columns), key=str)
    table = np.array(
        [[np.nan if (v := column.get(id)) is None else v for id in ids] for column in columns]
    ).reshape(len(columns), len(ids))
    shares = []
    for i, own in enumerate(table):
        others = [j for j in range(len(table)) if j != i and (min(i, j), max(i, j)) not in untested]
        away = own - table[others]
        away[np.isclose(own, table[others], rtol=ROUNDING, atol=0)] = 0.0
        won = 0.5 + 0.5 * sign * np.sign(away)
        there = ~np.isnan(won)
        counts = there.sum(axis=0)
        met = counts > 0
        mean = np.where(there, won, 0.0).sum(axis=0)[met] / counts[met]
        named = (id for id, kept in zip(ids, met, strict=True) if kept)
        shares.append(share_of(dict(zip(named, mean.tolist(), strict=True)), clusters))
    return shares


def share_of(won: Mapping[Any, float], clusters: Mapping[Any, str] | None = None) -> Share:
    """The mean of numbers from 0 to 1, one a prompt."""
    if not won:
        return Share(None, None, None)
    each = won if clusters is None else spread_clusters(won, clusters)
    units = len(each)
    mean = float(np.mean(list(won.values())))
    if units < 2:
        return Share(mean, None, None, 0.0, units)
    variance = float(np.var(list(each.values()), ddof=1)) / units
    return score_interval(mean, variance, units)


def mean_share(shares: list[Share]) -> Share:
    """The mean of several, each of prompts of its own."""
    known = [share for share in shares if share.value is not None]
    if not known:
        return Share(None, None, None)
    mean = float(np.mean([share.value for share in known]))
    units = sum(share.units for share in known)
    if any(share.low is None for share in known):
        return Share(mean, None, None, 0.0, units)
    variance = sum(share.variance for share in known) / len(known) ** 2
    return score_interval(mean, variance, units)


def score_interval(mean: float, variance: float, units: int) -> Share:
    """The score interval of a share, which stays between 0 and 1 and covers at the ends too.

    Formula: Wilson's with the effective number of units m (1 - m) / variance; of `units`, where all
        are won or lost and no variance is seen. Student's quantile stands for the normal one.
    Source: Wilson, Journal of the American Statistical Association 22, 1927; the effective number:
        Korn and Graubard, Survey Methodology 24, 1998.
    """
    from scipy.special import stdtrit

    spread = mean * (1 - mean)
    count = spread / variance if variance > 0 and spread > 0 else float(units)
    z = float(stdtrit(units - 1, 0.975))
    centre = (mean + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * sqrt(spread / count + z * z / (4 * count * count))
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return Share(mean, min(low, mean), max(high, mean), variance, units)
