"""Over tasks: mean ranks, standardised differences and who beats whom, never a sum of unlike units.

The tasks are those of the comparison; what is uncertain is which prompts they have. So the
intervals say what other prompts of the same tasks would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

import numpy as np

from tofu_eval.analysis import Pair
from tofu_eval.analysis.beats import Share, beats_share, mean_share
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.direction import has_direction, sign_of_direction
from tofu_eval.analysis.intervals import Floats
from tofu_eval.core.types import seed_of

DRAWS = 1999
"""Draws of the means that the interval of a mean rank is made of."""

Key = tuple[str, str, str]
"""Model, task and metric."""

Units = Mapping[Key, Mapping[Any, float]]
"""The values that each mean stands on, by prompt or cluster of prompts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model by one metric over the tasks.

    `rank` is the mean rank, 1 = most diverse (of quality: best), ties share their mean, over the
    `ranked` tasks on which every model that has this metric at all has a value: ranks among
    different models do not compare. `effect` is the mean standardised difference d_z to the
    baseline over the `compared` tasks that have one; its sign is the metric's own. `beats` is the
    probability that the model beats the baseline on a prompt drawn at random from a task drawn at
    random, a tie being half. `missing` names the tasks on which this model has no value. None where
    there is no such task; an interval is None where there are fewer than two prompts, or only
    means are known.
    """

    model: str
    metric: str
    rank: float | None
    ranked: int
    effect: float | None
    compared: int
    missing: tuple[str, ...]
    rank_low: float | None = None
    rank_high: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    beats: float | None = None
    beats_low: float | None = None
    beats_high: float | None = None


def standings(
    comparison: Comparison,
    units: Units | None = None,
    pairs: Mapping[Key, Pair] | None = None,
) -> tuple[Standing, ...]:
    """Every metric that was measured on two tasks or more, a standing a model.

    Nothing is imputed: a model without a value on a task has no rank there, and no other model
    either. Metrics without a direction are described, not ranked.

    Args:
        comparison: of models on tasks.
        units: what its means stand on, for the intervals of ranks.
        pairs: what its differences stand on, for those of the others.
    """
    of: dict[str, list[Row]] = {}
    for row in comparison.rows:
        of.setdefault(row.metric, []).append(row)
    return tuple(
        standing
        for metric, rows in of.items()
        if len(rows) > 1 and has_direction(rows[0].direction)
        for standing in _of_metric(comparison, metric, rows, units or {}, pairs or {})
    )


def _of_metric(
    comparison: Comparison,
    metric: str,
    rows: Sequence[Row],
    units: Units,
    pairs: Mapping[Key, Pair],
) -> list[Standing]:
    known = {cell.model for row in rows for cell in row.cells if cell.mean.value is not None}
    ranks: dict[str, list[float]] = {model: [] for model in known}
    draws: list[dict[str, Floats] | None] = []
    for row in rows:
        values = {c.model: c.mean.value for c in row.cells if c.mean.value is not None}
        if known and values.keys() == known:
            higher = sign_of_direction(row.direction) > 0
            for model, rank in _ranks(values, higher=higher).items():
                ranks[model].append(rank)
            draws.append(_draw_ranks(row, values, units, higher=higher))
    spans = _spans([one for one in draws if one is not None]) if draws and all(draws) else {}
    found = []
    for place, model in enumerate(comparison.models):
        cells = [row.cells[place] for row in rows]
        missing = [r.task for r, c in zip(rows, cells, strict=True) if c.mean.value is None]
        own = ranks.get(model, [])
        effect, effect_low, effect_high, compared = _mean_effect(cells, comparison)
        beats = _beats(rows, model, pairs)
        found.append(
            Standing(
                model,
                metric,
                fsum(own) / len(own) if own else None,
                len(own),
                effect,
                compared,
                tuple(missing),
                rank_low=spans[model][0] if model in spans else None,
                rank_high=spans[model][1] if model in spans else None,
                effect_low=effect_low,
                effect_high=effect_high,
                beats=beats.value,
                beats_low=beats.low,
                beats_high=beats.high,
            )
        )
    return found


def _beats(rows: Sequence[Row], model: str, pairs: Mapping[Key, Pair]) -> Share:
    """The share over the tasks on which both were measured."""
    shares = []
    for row in rows:
        pair = pairs.get((model, row.task, row.metric))
        if pair is not None:
            sign = sign_of_direction(row.direction)
            shares.append(beats_share(pair.a, pair.b, sign=sign, clusters=pair.clusters))
    return mean_share(shares)


def _mean_effect(
    cells: Sequence[Cell], comparison: Comparison
) -> tuple[float | None, float | None, float | None, int]:
    """The mean d_z over tasks with its interval, and how many tasks have one.

    Formula: the variance of d_z is (se / sd)^2 + d_z^2 (k + 2) / 4 / n, k the excess kurtosis and
        se the standard error of the difference (of several seeds: over these too); the part of the
        skewness is left out, which makes it no narrower for symmetric differences. Student's
        quantile has the prompts' degrees of freedom, or those of the fewest seeds.
    """
    known = [cell for cell in cells if cell.difference and cell.difference.effect is not None]
    if not known:
        return None, None, None, 0
    effects = [cell.difference.effect or 0.0 for cell in known if cell.difference]
    mean = fsum(effects) / len(effects)
    variances, freedom = [], 0
    for cell in known:
        found = cell.difference
        if found is None or found.effect is None or not found.sd or found.units < 2:
            return mean, None, None, len(known)
        error = found.sd**2 / found.units
        if cell.spread is not None:
            error = cell.spread.prompts + cell.spread.seeds + cell.spread.rest
        shape = found.effect**2 * (found.kurtosis + 2) / 4 / found.units
        variances.append(error / found.sd**2 + shape)
        freedom += found.units - 1
    from scipy.special import stdtrit

    series = [comparison.seeds.get(name, ()) for name in (known[0].model, comparison.baseline)]
    seeds = [len(members) for members in series if len(members) > 1]
    freedom = min(seeds) - 1 if seeds else freedom
    reach = float(stdtrit(max(1, freedom), 0.975)) * sqrt(fsum(variances)) / len(effects)
    return mean, mean - reach, mean + reach, len(known)


def _draw_ranks(
    row: Row, values: Mapping[str, float], units: Units, *, higher: bool
) -> dict[str, Floats] | None:
    """Ranks on one task under draws of all its means together; None where that is not known.

    The means of other prompts are drawn from Student's distribution around those that were seen,
    with their covariance: models answer the same prompts.
    """
    models = list(values)
    own = [units.get((model, row.task, row.metric), {}) for model in models]
    if any(len(some) < 2 for some in own):
        return None
    ids = sorted(set().union(*own), key=str)
    table = np.array([[some.get(id, np.nan) for id in ids] for some in own])
    counts = np.sum(~np.isnan(table), axis=1, keepdims=True)
    pull = np.nan_to_num(table - np.nanmean(table, axis=1, keepdims=True))
    pull /= np.sqrt(counts * (counts - 1.0))
    rng = np.random.default_rng(seed_of(0, row.task, row.metric))
    size, vectors = np.linalg.eigh(pull @ pull.T)
    moved = (rng.standard_normal((DRAWS, len(models))) * np.sqrt(np.maximum(size, 0))) @ vectors.T
    freedom = int(counts.min()) - 1
    scale = np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1)))
    drawn = np.array([values[model] for model in models]) + moved * scale
    drawn = drawn if higher else -drawn
    equal = drawn[:, :, None] == drawn[:, None, :]
    above = drawn[:, None, :] > drawn[:, :, None]
    ranks = 1 + above.sum(axis=2) + (equal.sum(axis=2) - 1) / 2
    return {model: ranks[:, i] for i, model in enumerate(models)}


def _spans(draws: Sequence[Mapping[str, Floats]]) -> dict[str, tuple[float, float]]:
    """The middle 95% of the mean rank of each model."""
    spans = {}
    for model in draws[0]:
        mean = np.mean([one[model] for one in draws], axis=0)
        low, high = np.quantile(mean, (0.025, 0.975), method="inverted_cdf").tolist()
        spans[model] = (low, high)
    return spans


def _ranks(values: Mapping[str, float], *, higher: bool) -> dict[str, float]:
    """1 = first; equal values share the mean of their places."""
    ordered = list(values.values())
    return {
        model: 1
        + sum(other > value if higher else other < value for other in ordered)
        + (sum(other == value for other in ordered) - 1) / 2
        for model, value in values.items()
    }
