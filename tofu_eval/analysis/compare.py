"""Models against a baseline, prompt by prompt, from the table of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from tofu_eval.analysis import Difference, Pair, least_p_value, paired_differences
from tofu_eval.analysis.beats import beats_share
from tofu_eval.analysis.categories import find_widened
from tofu_eval.analysis.columns import (
    Key,
    cross_seeds,
    group_columns,
    mean_of_column,
    mean_over_seeds,
    scores_by_key,
    unit_values,
)
from tofu_eval.analysis.comparison import ALPHA, Cell, Comparison, How, Row
from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.equal_counts import (
    Counted,
    Counts,
    Equalised,
    count_prompts,
    equalise,
    mean_counts,
)
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.analysis.judge_difference import (
    keep_in_range,
    lengths_of,
    lies_within,
    margin_of,
    turn_of,
    why_withheld,
)
from tofu_eval.core.errors import UnknownNameError


def compare(
    scores: pa.Table,
    baseline: str,
    *,
    metrics: Mapping[str, str],
    smaller: pa.Table | None = None,
    series: Mapping[str, tuple[str, ...]] | None = None,
    how: How | None = None,
) -> Comparison:
    """Every model's mean with its 95% interval, and its paired difference to the baseline.

    Pairs are made by prompt id, and at equal numbers of responses where the metric moves with them.
    A model without scores on a task has an empty cell there; nothing is imputed. Models, tasks and
    metrics stand in the order of the table. Several seeds of one series are one model, whose
    prompts are crossed with its seeds.

    Args:
        scores: a table of SCORE_SCHEMA.
        baseline: one of its models, or a series.
        metrics: direction by metric name ("higher", "lower" or "none" is more diverse); at least
            those of the table.
        smaller: a table of EQUAL_SCHEMA, the scores at smaller numbers of responses.
        series: the members of each column by its name, as `seeds_together` gives them; by default
            each model is a column.
        how: what else is known, and wanted.
    Raises:
        UnknownNameError: the baseline has no scores, or a metric has no direction.
        DataError: the table has two values for one model, task, metric and prompt; a prompt has no
            cluster.
    """
    how = how or How()
    there = scores.column("model").unique().to_pylist()
    columns = group_columns(there, series or {})
    if baseline not in columns:
        raise UnknownNameError.of("model", baseline, columns, "tofu-eval compare RUN")
    table, reasons = scores_by_key(scores, smaller)
    kinds = list(dict.fromkeys((task, metric) for _, task, metric in table))
    for _, metric in kinds:
        if metric not in metrics:
            raise UnknownNameError.of("metric", metric, metrics, "tofu-eval metrics list")
    sides = {
        (column, *kind): [table[(m, *kind)] for m in members if (m, *kind) in table]
        for column, members in columns.items()
        for kind in kinds
    }
    versus = {
        key: _equalise(members, sides[(baseline, *key[1:])], how, key[2])
        for key, members in sides.items()
        if key[0] != baseline
    }
    pairs = {key: _pair(key, equal, how) for key, equal in versus.items()}
    made, level = paired_differences(list(pairs.values()), alpha=ALPHA)
    differences = dict(zip(pairs, made, strict=True))
    seeds = {name: members for name, members in columns.items() if len(members) > 1}

    def cell(key: Key, direction: str) -> Cell:
        counts = sum((reasons.get((m, *key[1:]), Counter()) for m in columns[key[0]]), Counter())
        if key not in versus:
            return _baseline_cell(key, sides[key], counts, how)
        lengths = [lengths_of(how, columns[name], key[1]) for name in (key[0], baseline)]
        return _cell(
            key,
            sides[key],
            versus[key],
            pairs[key],
            differences[key],
            counts,
            lengths,
            direction,
            how,
            level,
        )

    rows = tuple(
        Row(
            task,
            metric,
            metrics[metric],
            tuple(cell((column, task, metric), metrics[metric]) for column in columns),
            how.facts.get(metric, {}).get("measures", "diversity"),
            how.facts.get(metric, {}).get("human"),
            how.facts.get(metric, {}).get("unit", ""),
        )
        for task, metric in kinds
    )
    tests = sum(difference.p_value is not None for difference in made)
    comparison = Comparison(
        baseline,
        tuple(columns),
        rows,
        tests,
        seeds,
        level=level,
        clusters={task: how.fields[task] for task, _ in kinds if task in how.fields},
        widened=find_widened(pairs, differences, how),
    )
    from tofu_eval.analysis.over_tasks import standings
    from tofu_eval.analysis.warnings import scores_warnings  # which are about comparisons

    units = {key: _units_of(key, members, versus.get(key), how) for key, members in sides.items()}
    return replace(
        comparison,
        over_tasks=standings(comparison, units, pairs),
        warnings=scores_warnings(comparison, scores, how.unread),
    )


def _equalise(
    ours: Sequence[Counted], theirs: Sequence[Counted], how: How, metric: str
) -> Equalised:
    """Both sides at equal counts; of what does not move with them, as they are."""
    values = [tuple(side.values for side in some) for some in (ours, theirs)]
    if not ours or not theirs:
        return Equalised(values[0], values[1], total=count_prompts(ours, theirs))
    if not how.facts.get(metric, {}).get("count_sensitive"):
        shared = set.intersection(*(set(side.counts) for side in (*ours, *theirs)))
        counts = Counts.of(n for side in ours for n in side.counts.values())
        return Equalised(
            values[0],
            values[1],
            counts,
            mean_counts(ours, theirs, sorted(shared, key=str)),
            total=count_prompts(ours, theirs),
        )
    return equalise(ours, theirs, least=how.min_responses, fixed=how.responses)


def _pair(key: Key, equal: Equalised, how: How) -> Pair:
    """The two sides of a difference, over their seeds."""
    clusters = _clusters_of(key, how)
    return Pair(
        mean_over_seeds(equal.ours),
        mean_over_seeds(equal.theirs),
        key[1],
        clusters,
        cross_seeds(equal.ours, equal.theirs, clusters),
    )


def _units_of(
    key: Key, members: Sequence[Counted], equal: Equalised | None, how: How
) -> dict[Any, float]:
    """What the mean of a cell stands on, over its seeds."""
    made = equal.ours if equal is not None and equal.unequal else None
    own = made or [side.values for side in members]
    return unit_values(mean_over_seeds(own), _clusters_of(key, how)) if own else {}


def _clusters_of(key: Key, how: How) -> Mapping[Any, str] | None:
    """The clusters of the prompts; None for the blocks of a corpus, which are none."""
    return how.clusters(key[1]) if how.has_prompts(key[2]) else None


def _baseline_cell(key: Key, members: Sequence[Counted], reasons: Counter[str], how: How) -> Cell:
    """The baseline's own mean, at all the responses that it has."""
    values = [side.values for side in members]
    clusters = _clusters_of(key, how)
    mean, undefined, spread = mean_of_column(values, clusters)
    counts = Counts.of(n for side in members for n in side.counts.values())
    return Cell(key[0], how.shown(mean, key[2]), undefined, reasons, None, None, spread, counts)


def _cell(
    key: Key,
    members: Sequence[Counted],
    equal: Equalised,
    pair: Pair,
    difference: Difference,
    reasons: Counter[str],
    lengths: Sequence[Lengths],
    direction: str,
    how: How,
    level: float,
) -> Cell:
    """A model beside the baseline."""
    # Its own prompts where nothing had to be made equal; else those of the difference.
    own = list(equal.ours) if equal.unequal else [side.values for side in members]
    mean, undefined, _ = mean_of_column(own, pair.clusters)
    facts = how.facts.get(key[2], {})
    difference = replace(difference, dropped=equal.total - difference.n)
    difference = keep_in_range(difference, facts)
    cell = Cell(
        key[0],
        how.shown(mean, key[2]),
        undefined,
        reasons,
        difference,
        difference.p_adjusted,
        None if pair.crossed is None else pair.crossed.components,
        equal.counts,
        equal.responses,
        equal.unequal,
        len(equal.left_out),
        float(np.sqrt(equal.noise)),
        tuple(why_withheld(key, equal, pair, difference, lengths, how, level=level)),
    )
    margin = margin_of(key[2], equal, facts, how)
    sign = sign_of_direction(direction)
    beats = beats_share(pair.a, pair.b, sign=sign, clusters=pair.clusters) if sign else None
    near = lies_within(difference, margin, direction)
    least = least_p_value(difference.units) if pair.crossed is None and difference.n else 0.0
    cell = replace(
        cell, margin=margin, equivalent=near[0], no_loss=near[1], least_p=least, beats=beats
    )
    return replace(cell, turn=turn_of(cell, direction))
