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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.bootstrap import estimated, resampled_means
from tofu_eval.analysis.common_counts import MadeEqual, at_common_counts
from tofu_eval.analysis.comparison import How
from tofu_eval.analysis.direction import sign_of, worst_of
from tofu_eval.analysis.equal_quality import Contest, Member, contest, decide, places, seeds_of
from tofu_eval.analysis.pareto import Floats, efficient, hypervolume
from tofu_eval.analysis.people import PeopleLine, people_lines, people_of
from tofu_eval.analysis.shared_prompts import Common, common_prompts
from tofu_eval.core.errors import ConfigError, UnknownNameError
from tofu_eval.core.tables import to_columns
from tofu_eval.core.types import seed_of

RESAMPLES = 1999
METHOD = "means over the prompts that all models have, 95% percentile bootstrap, paired over models"


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a series at one temperature.

    Both measures are oriented: higher is better, higher is more diverse (a metric whose lower
    values are more diverse stands with a minus). `low` and `high` bound the 95% interval, None
    with fewer than two prompts. `efficient`: no other point, of that seed where there are
    seeds, is as good in both and better in one. `temperature` is None where nobody knows it.
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
    `curves` are the points as a reader wants them: where a series has several seeds, their mean at
    each temperature. `reference` is the (quality, diversity) that the hypervolumes count from: for
    each measure the worst value that its metric can have, or where that is not a number, the worst
    mean among the points. `dropped` are prompts that some model lacks, `prompts` counts the others.
    `made_equal` says at how many responses the values of what moves with their number were made.
    `cluster` is the field that prompts are clustered by, None where they stand for themselves;
    `units` counts what is resampled: prompts, or clusters of them.
    `people` is where answers of people stand on the metric of diversity, in its own units.
    """

    task: str
    quality_metric: str
    diversity_metric: str
    signs: tuple[int, int]
    points: tuple[Point, ...]
    curves: tuple[Point, ...]
    efficient: tuple[str, ...]
    reference: tuple[float, float]
    volumes: tuple[Volume, ...]
    of_all: Volume
    contests: tuple[Contest, ...]
    prompts: int
    dropped: tuple[str, ...]
    lacking: Mapping[str, int]
    method: str
    made_equal: tuple[MadeEqual, ...] = ()
    cluster: str | None = None
    units: int = 0
    people: PeopleLine | None = None


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
    smaller: pa.Table | None = None,
    how: How | None = None,
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
        smaller: a table of EQUAL_SCHEMA, the scores at smaller numbers of responses: what moves
            with them is put beside one another at the smallest that any of the models has.
        how: `fields` and `metadata` say how prompts are clustered, `responses` and `min_responses`
            are of `compare`, and so are `margins` for the metric of diversity.
    Raises:
        UnknownNameError: no such task, metric or series.
        ConfigError: a metric without a direction, or one and the same metric twice.
        DataError: no prompt has both measures of every model.
    """
    how = how or How()
    signs, members, common, means, made_equal, units = _measured(
        scores, manifest, task, (quality, diversity), series, seed, resamples, smaller, how
    )
    names = list(dict.fromkeys(member.series for member in members))
    if baseline is not None and baseline not in names:
        raise UnknownNameError.of("series", baseline, names, "tofu-eval frontier RUN")
    reference = (
        worst_of(manifest, quality, signs[0], means[0, :, 0]),
        worst_of(manifest, diversity, signs[1], means[0, :, 1]),
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
        curves=_curves(members, means),
        efficient=tuple(point.model for point in points if point.efficient),
        reference=reference,
        volumes=tuple(_volume(name, [name], members, means, reference) for name in names),
        of_all=_volume("all", names, members, means, reference),
        contests=decide(
            [contest(*pair, members, means, reference, units) for pair in pairs],
            margin=how.margins.get(diversity),
        ),
        prompts=len(common.prompts),
        dropped=common.dropped,
        lacking=common.lacking,
        method=f"{METHOD}, {resamples} resamples"
        + (" of clusters" if how.fields.get(task) else ""),
        made_equal=made_equal,
        cluster=how.fields.get(task),
        units=units,
        people=people_lines(scores, manifest).get((task, diversity)),
    )


def frontiers(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    *,
    tasks: Sequence[str] = (),
    quality: str,
    diversity: str,
    **options: Any,
) -> list[Frontier]:
    """The frontier of each task; by default of all that were scored with both metrics.

    Raises:
        UnknownNameError, ConfigError, DataError: as `frontier`; no task has both metrics.
    """
    measured: dict[str, set[str]] = {}
    pairs = scores.group_by(["task", "metric"], use_threads=False).aggregate([])
    for task, metric in zip(*to_columns(pairs, ("task", "metric")), strict=True):
        measured.setdefault(task, set()).add(metric)
    both = [task for task, known in measured.items() if {quality, diversity} <= known]
    for metric in (quality, diversity):
        if not tasks and not both:
            known = sorted(set().union(*measured.values()))
            if metric not in known:
                raise UnknownNameError.of("metric", metric, known, "tofu-eval compare RUN")
    if not tasks and not both:
        raise ConfigError(f"No task was scored with both '{quality}' and '{diversity}'.")
    return [
        frontier(scores, manifest, task=task, quality=quality, diversity=diversity, **options)
        for task in tasks or both
    ]


def frontier_points(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    *,
    task: str,
    quality: str,
    diversity: str,
    seed: int = 0,
    smaller: pa.Table | None = None,
    how: How | None = None,
) -> tuple[tuple[Point, ...], int]:
    """The points of `frontier` alone, which take a small part of its time; on how many prompts.

    Raises:
        UnknownNameError, ConfigError, DataError: as `frontier`.
    """
    _, members, common, means, _, _ = _measured(
        scores, manifest, task, (quality, diversity), None, seed, RESAMPLES, smaller, how or How()
    )
    return _points(members, means), len(common.prompts)


def _measured(
    scores: pa.Table,
    manifest: Mapping[str, Any],
    task: str,
    measures: tuple[str, str],
    series: Collection[str] | None,
    seed: int,
    resamples: int,
    smaller: pa.Table | None,
    how: How,
) -> tuple[tuple[int, int], list[Member], Common, Floats, tuple[MadeEqual, ...], int]:
    """The signs of the measures, the models, their common prompts, their resampled means, what was
    made equal, and how many prompts or clusters were resampled."""
    quality, diversity = measures
    if quality == diversity:
        raise ConfigError(f"Quality and diversity are both '{quality}'; expected two metrics.")
    signs = (sign_of(manifest, quality), sign_of(manifest, diversity))
    members = _members(scores, manifest, task, series)
    names = [member.model for member in members]
    of_task = scores.filter(pc.equal(scores.column("task"), task))
    wanted = pa.array(measures, pa.string())
    at_one, made_equal = at_common_counts(
        of_task.filter(pc.is_in(of_task.column("metric"), wanted)),
        smaller,
        names,
        manifest.get("metrics", {}),
        least=how.min_responses,
        fixed=how.responses,
    )
    common = common_prompts(at_one if made_equal else scores, task, names, (quality, diversity))
    rng = np.random.default_rng(seed_of(seed, task, quality, diversity))
    oriented = common.values * np.array(signs, dtype=np.float64)[:, None, None]
    clusters = how.clusters(task)
    own = None if clusters is None else [clusters[prompt] for prompt in common.prompts]
    means = resampled_means(np.moveaxis(oriented, 0, 1), rng, resamples, own)
    units = len(common.prompts) if own is None else len(set(own))
    return signs, members, common, means, made_equal, units


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
    people = people_of(manifest)
    for name in rows.column("model").unique().to_pylist():
        if name in people:  # nobody asked them at a temperature
            continue
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


def _points(members: Sequence[Member], means: Floats) -> tuple[Point, ...]:
    on = _efficient(members, means[0])
    return tuple(_point(member, means[:, i], on[i]) for i, member in enumerate(members))


def _curves(members: Sequence[Member], means: Floats) -> tuple[Point, ...]:
    """The means over seeds of each series and temperature, as models without a seed."""
    kinds: dict[tuple[str, float | None], list[int]] = {}
    for i, member in enumerate(members):
        kinds.setdefault((member.series, member.temperature), []).append(i)
    together = [
        members[own[0]] if len(own) == 1 else Member(f"{series}, {len(own)} seeds", series, None, t)
        for (series, t), own in kinds.items()
    ]
    columns = np.stack([means[:, own].mean(axis=1) for own in kinds.values()], axis=1)
    on = efficient(columns[0, :, 0], columns[0, :, 1])
    return tuple(_point(m, columns[:, i], bool(on[i])) for i, m in enumerate(together))


def _point(member: Member, means: Floats, on: bool) -> Point:
    """One model; `means` is (1 + resamples, 2)."""
    quality, diversity = estimated(means[:, 0]), estimated(means[:, 1])
    return Point(
        member.model,
        member.series,
        member.seed,
        member.temperature,
        float(means[0, 0]),
        quality.low,
        quality.high,
        float(means[0, 1]),
        diversity.low,
        diversity.high,
        on,
    )


def _efficient(members: Sequence[Member], means: Floats) -> list[bool]:
    """Which models no other model of their seed beats; the luckiest seed would beat all others."""
    on = [True] * len(members)
    for seed in seeds_of(members):
        own = [i for i, member in enumerate(members) if member.seed in (None, seed)]
        for i, kept in zip(own, efficient(means[own, 0], means[own, 1]), strict=True):
            on[i] = on[i] and bool(kept)
    return on


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
