"""The quality-diversity frontier of a run: what each model reaches, and at which temperature.

A hotter decoder makes any model more diverse and worse. So a method that claims diversity is put
beside the other method's whole frontier over temperatures: is it more diverse at equal quality?
Every number is a mean over the prompts on which all models have both measures, and the prompts are
resampled for all models at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.errors import ConfigError, UnknownNameError
from tofu_eval.leaderboard.common import Common, common_prompts
from tofu_eval.leaderboard.contest import Contest, Member, contest, places, seeds_of
from tofu_eval.leaderboard.pareto import Floats, efficient, hypervolume
from tofu_eval.leaderboard.resampled import estimated, resampled_means
from tofu_eval.types import seed_of

RESAMPLES = 1999
METHOD = "means over the prompts that all models have, 95% percentile bootstrap, paired over models"


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a series at one temperature.

    Both measures are oriented: higher is better, higher is more diverse (a metric whose lower
    values are more diverse stands with a minus). `low` and `high` bound the 95% interval, None
    with fewer than two prompts. `efficient`: no other point of the frontier is as good in both
    and better in one. `temperature` is None where nobody knows it.
    """

    model: str
    series: str
    seed: int | None
    temperature: float | None
    quality: float
    quality_low: float | None
    quality_high: float | None
    diversity: float
    diversity_low: float | None
    diversity_high: float | None
    efficient: bool


@dataclass(frozen=True, slots=True)
class Volume:
    """The hypervolume of a series: a mean over its seeds, with its 95% interval over prompts.

    More temperatures can only add to it, so compare series that have the same ones.
    """

    series: str
    temperatures: tuple[float | None, ...]
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Frontier:
    """Models as points, the area they reach, and who is more diverse at equal quality.

    `signs` are -1 where a metric's lower values are better, and its values here negated.
    `reference` is the (quality, diversity) that the hypervolumes count from: for each measure the
    worst value that its metric can have, or where that is not a number, the worst mean among the
    points. `dropped` are prompts that some model lacks, `prompts` counts the others.
    """

    task: str
    quality_metric: str
    diversity_metric: str
    signs: tuple[int, int]
    points: tuple[Point, ...]
    efficient: tuple[str, ...]
    reference: tuple[float, float]
    volumes: tuple[Volume, ...]
    of_all: Volume
    contests: tuple[Contest, ...]
    prompts: int
    dropped: tuple[str, ...]
    lacking: Mapping[str, int]
    method: str


def frontier(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    *,
    task: str,
    quality: str,
    diversity: str,
    series: Collection[str] | None = None,
    baseline: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Frontier:
    """The frontier of the models of a run on one task.

    Args:
        scores: a table of SCORE_SCHEMA.
        manifest: run.json; used are `models` (`series`, `seed`, `temperature`), `tasks` and
            `metrics`.
        task: one of its tasks.
        quality: a metric with a direction, with a value a prompt.
        diversity: another such metric.
        series: only these; by default all that have scores on the task.
        baseline: the series that the others are put beside; by default every two are compared.
        seed: decides the resamples.
        resamples: how often the prompts are drawn again.
    Raises:
        UnknownNameError: no such task, metric or series.
        ConfigError: a metric without a direction, or one and the same metric twice.
        DataError: no prompt has both measures of every model.
    """
    signs, members, common, means = _measured(
        scores, manifest, task, (quality, diversity), series, seed, resamples
    )
    names = list(dict.fromkeys(member.series for member in members))
    if baseline is not None and baseline not in names:
        raise UnknownNameError.of("series", baseline, names, "tofu-eval frontier RUN")
    reference = (
        _worst(manifest, quality, signs[0], means[0, :, 0]),
        _worst(manifest, diversity, signs[1], means[0, :, 1]),
    )
    points = _points(members, means)
    pairs = (
        [(late, early) for early, late in combinations(names, 2)]
        if baseline is None
        else [(name, baseline) for name in names if name != baseline]
    )
    return Frontier(
        task=task,
        quality_metric=quality,
        diversity_metric=diversity,
        signs=signs,
        points=points,
        efficient=tuple(point.model for point in points if point.efficient),
        reference=reference,
        volumes=tuple(_volume(name, [name], members, means, reference) for name in names),
        of_all=_volume("all", names, members, means, reference),
        contests=tuple(contest(*pair, members, means, reference) for pair in pairs),
        prompts=len(common.prompts),
        dropped=common.dropped,
        lacking=common.lacking,
        method=f"{METHOD}, {resamples} resamples",
    )


def frontier_points(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    *,
    task: str,
    quality: str,
    diversity: str,
    seed: int = 0,
) -> tuple[Point, ...]:
    """The points of `frontier` alone, which take a small part of its time.

    Raises:
        UnknownNameError, ConfigError, DataError: as `frontier`.
    """
    _, members, _, means = _measured(
        scores, manifest, task, (quality, diversity), None, seed, RESAMPLES
    )
    return _points(members, means)


def _measured(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    task: str,
    measures: tuple[str, str],
    series: Collection[str] | None,
    seed: int,
    resamples: int,
) -> tuple[tuple[int, int], list[Member], Common, Floats]:
    """The signs of the measures, the models, their common prompts and their resampled means."""
    quality, diversity = measures
    if quality == diversity:
        raise ConfigError(f"Quality and diversity are both '{quality}'; expected two metrics.")
    signs = (_sign(manifest, quality), _sign(manifest, diversity))
    members = _members(scores, manifest, task, series)
    common = common_prompts(scores, task, [m.model for m in members], (quality, diversity))
    rng = np.random.default_rng(seed_of(seed, task, quality, diversity))
    oriented = common.values * np.array(signs, dtype=np.float64)[:, None, None]
    means = resampled_means(np.moveaxis(oriented, 0, 1), rng, resamples)
    return signs, members, common, means


def _members(
    scores: pa.Table, manifest: Mapping[str, Any], task: str, wanted: Collection[str] | None
) -> list[Member]:
    """The models that have scores on the task, as run.json describes them."""
    tasks = scores.column("task").unique().to_pylist()
    if task not in tasks:
        raise UnknownNameError.of("task", task, tasks, "tofu-eval compare RUN")
    rows = scores.filter(pc.equal(scores.column("task"), task))
    sampled = manifest["tasks"][task]["sampling"].get("temperature")
    members = []
    for name in rows.column("model").unique().to_pylist():
        model = manifest["models"][name]
        # Of responses that came as a file, nobody knows how they were drawn.
        usual = None if model["engine"] == "file" else sampled
        members.append(
            Member(
                name, model.get("series", name), model.get("seed"), model.get("temperature", usual)
            )
        )
    names = list(dict.fromkeys(member.series for member in members))
    for name in wanted or ():
        if name not in names:
            raise UnknownNameError.of("series", name, names, "tofu-eval frontier RUN")
    return [member for member in members if wanted is None or member.series in wanted]


def _sign(manifest: Mapping[str, Any], metric: str) -> int:
    """1 where higher values are better, -1 where lower ones are."""
    known = manifest.get("metrics", {})
    if metric not in known:
        raise UnknownNameError.of("metric", metric, known, "tofu-eval compare RUN")
    direction = known[metric]["direction"]
    if direction == "none":
        raise ConfigError(
            f"'{metric}' has no direction: neither more nor less of it is better. "
            "Take another metric: tofu-eval metrics list"
        )
    return 1 if direction == "higher" else -1


def _worst(manifest: Mapping[str, Any], metric: str, sign: int, found: Floats) -> float:
    """The worst value that a metric can have, oriented; else the worst of those found."""
    least, greatest = manifest["metrics"][metric]["range"]
    try:
        bound = sign * float(least if sign > 0 else greatest)
    except ValueError:  # "n", the number of responses
        bound = -inf
    return bound if isfinite(bound) else float(found.min())


def _points(members: Sequence[Member], means: Floats) -> tuple[Point, ...]:
    on = efficient(means[0, :, 0], means[0, :, 1])
    points = []
    for i, member in enumerate(members):
        quality, diversity = (estimated(means[:, i, side]) for side in (0, 1))
        points.append(
            Point(
                member.model,
                member.series,
                member.seed,
                member.temperature,
                float(means[0, i, 0]),
                quality.low,
                quality.high,
                float(means[0, i, 1]),
                diversity.low,
                diversity.high,
                bool(on[i]),
            )
        )
    return tuple(points)


def _volume(
    name: str,
    series: Sequence[str],
    members: Sequence[Member],
    means: Floats,
    reference: tuple[float, float],
) -> Volume:
    """The mean over seeds of the area that the models of these series reach together."""
    by_seed = [
        [i for one in series for i in places(members, one, seed)] for seed in seeds_of(members)
    ]
    areas = [hypervolume(means[:, at, 0], means[:, at, 1], reference) for at in by_seed if at]
    found = estimated(np.mean(areas, axis=0))
    temperatures = dict.fromkeys(m.temperature for m in members if m.series in series)
    return Volume(name, tuple(temperatures), float(found.value or 0.0), found.low, found.high)
