"""Scores at equal numbers of responses: the larger of two groups at the size of the smaller.

A metric that moves with the number of responses is compared prompt by prompt at the smaller of two
models' numbers. The larger group's score there is the mean over its subsets of that size: by a
closed form where the metric has one, else over a fixed number of subsets that the prompt decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis.equal_counts import LEAST, block_count
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.tables import to_columns
from tofu_eval.core.types import EqualScore, Group, Report, no_report, seed_of
from tofu_eval.features.base import find_feature
from tofu_eval.metrics import Metric
from tofu_eval.metrics.conditional import take_responses
from tofu_eval.pipeline.inputs import Inputs, KeptFeature
from tofu_eval.pipeline.score import featurize_groups

SUBSETS = 4
"""Subsets, at least, that stand for all where there is no closed form."""

Wanted = Mapping[tuple[str, str, str, str], tuple[int, ...]]
"""Smaller numbers of responses by model, task, metric and prompt."""


def wanted_counts(
    scores: pa.Table, metrics: Iterable[Metric], *, fixed: int | None = None
) -> dict[tuple[str, str, str, str], tuple[int, ...]]:
    """At which smaller numbers of responses each prompt must be scored.

    These are the numbers that other models have on the prompt, so that any two can be compared;
    the number at which a board ranks the task; and `fixed`, where it is given.

    Args:
        scores: a table of SCORE_SCHEMA, of all models.
        metrics: those of the table.
        fixed: a number for all prompts.
    """
    moved = {m.name for m in metrics if m.level == "group" and m.count_sensitive and _divisible(m)}
    scores = scores.filter(pc.is_in(scores.column("metric"), pa.array(sorted(moved), pa.string())))
    if fixed is None and len(scores.column("n").unique()) < 2:  # as in most runs
        return {}
    counts: dict[tuple[str, str], dict[str, dict[str | None, int]]] = {}
    columns = to_columns(scores, ("model", "task", "metric", "prompt_id", "n"))
    for model, task, metric, prompt, n in zip(*columns, strict=True):
        if prompt is not None:
            counts.setdefault((task, metric), {}).setdefault(model, {})[prompt] = n
    wanted: dict[tuple[str, str, str, str], tuple[int, ...]] = {}
    for (task, metric), models in counts.items():
        always = {fixed, block_count(models)} - {None}
        for model, own in models.items():
            others = [other for name, other in models.items() if name != model]
            for prompt, n in own.items():
                sizes = {other[prompt] for other in others if prompt in other} | always
                some = tuple(sorted(k for k in sizes if k is not None and LEAST <= k < n))
                if some and prompt is not None:
                    wanted[model, task, metric, prompt] = some
    return wanted


def score_at_counts(
    group: Group, metrics: Sequence[Metric], wanted: Wanted
) -> Iterator[EqualScore]:
    """The scores of one group at smaller numbers of responses.

    Args:
        group: with the features that the metrics need.
        metrics: of level "group".
        wanted: of `wanted_counts`.
    """
    inputs = Inputs(group)
    taken: dict[tuple[str, tuple[int, ...]], Any] = {}
    for metric in metrics:
        key = (group.model, group.task, metric.name, group.prompt.id)
        for k in wanted.get(key, ()):
            value, noise = _score_at(metric, inputs, group, k, taken)
            yield EqualScore(group.model, group.task, group.prompt.id, metric.name, value, k, noise)


def score_smaller(
    groups: Iterable[Group],
    metrics: Sequence[Metric],
    features: Mapping[str, KeptFeature],
    wanted: Wanted,
    *,
    truncate: int | None = None,
    report: Report = no_report,
) -> list[EqualScore]:
    """The scores of several groups at smaller numbers of responses.

    Args:
        groups: any; those of which nothing is wanted cost nothing.
        metrics: of level "group".
        features: what makes the features that the groups have not yet, by name.
        wanted: of `wanted_counts`.
        truncate: words, as in `score_groups`.
        report: told about the features that are computed.
    """
    asked = {(model, task, prompt) for model, task, _, prompt in wanted}
    named = {metric for _, _, metric, _ in wanted}
    some = [group for group in groups if (group.model, group.task, group.prompt.id) in asked]
    moved = [metric for metric in metrics if metric.name in named]
    if not some:
        return []
    halves = featurize_groups(some, moved, features, truncate=truncate, report=report)
    return [
        row
        for members, own, _ in halves
        for group in members
        for row in score_at_counts(group, own, wanted)
    ]


def measure_lengths(groups: Iterable[Group]) -> dict[tuple[str, str], Lengths]:
    """How long responses are, by model and task."""
    sums: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    for group in groups:
        total = sum(map(len, group.texts))
        own = sums.setdefault((group.model, group.task), {})
        own[group.prompt.id] = (total, len(group.texts))
    return {place: Lengths.of_sums(own) for place, own in sums.items()}


def _divisible(metric: Metric) -> bool:
    """Whether what it needs can be had of some of the responses."""
    makers = map(find_feature, metric.needs)
    return not any(maker is not None and maker.pairwise for maker in makers)


def _score_at(
    metric: Metric,
    inputs: Inputs,
    group: Group,
    k: int,
    taken: dict[tuple[str, tuple[int, ...]], Any],
) -> tuple[float | None, float]:
    """The mean over subsets of k, and its variance over other choices of them."""
    try:
        arrays = inputs.arguments(metric)
        if metric.at_count is not None:
            return float(metric.at_count(*arrays, k=k, **metric.settings)), 0.0
        pool = (
            list(range(len(group.texts))) if metric.passing is None else metric.passing(arrays[-1])
        )
    except MetricInputError:
        return None, 0.0
    values = []
    subsets = draw_subsets(len(pool), k, seed_of("subsets", group.task, group.prompt.id))
    for subset in subsets:
        keep = tuple(pool[i] for i in subset)
        some = [
            _take_once(need, array, keep, taken)
            for need, array in zip(metric.needs, arrays, strict=True)
        ]
        try:
            values.append(float(metric.function(*some, **metric.settings)))
        except MetricInputError:
            continue
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return None, 0.0
    every = len(subsets) == comb(len(pool), k)
    noise = 0.0 if every or len(finite) < 2 else float(finite.var(ddof=1)) / len(finite)
    return float(finite.mean()), noise


def _take_once(
    need: str,
    array: Any,
    keep: tuple[int, ...],
    taken: dict[tuple[str, tuple[int, ...]], Any],
) -> Any:
    """What some of the responses have of a need; metrics of one group share it."""
    if (need, keep) not in taken:
        (taken[need, keep],) = take_responses([need], [array], keep)
    return taken[need, keep]


@lru_cache(maxsize=4096)
def draw_subsets(n: int, k: int, seed: int) -> list[tuple[int, ...]]:
    """SUBSETS subsets of k of n, or all where there are no more.

    Each shuffle of the n gives as many subsets as have no member in common, which say more of all
    than as many independent ones; at least one shuffle is used up.
    """
    if comb(n, k) <= SUBSETS:
        return list(combinations(range(n), k))
    rng = np.random.default_rng(seed)
    subsets: list[tuple[int, ...]] = []
    while len(subsets) < SUBSETS:
        order = rng.permutation(n)
        parts = (order[start : start + k] for start in range(0, n - k + 1, k))
        subsets += [tuple(sorted(part.tolist())) for part in parts]
    return subsets
