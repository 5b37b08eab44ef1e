"""The columns of a comparison: a model each, or seeds of a series, and their values by prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis import (
    Components,
    Crossed,
    Interval,
    crossed_difference,
    crossed_mean,
    mean_interval,
    spread_clusters,
)
from tofu_eval.analysis.equal_counts import Counted, counted
from tofu_eval.analysis.intervals import Floats
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import to_columns

Key = tuple[str, str, str]
"""Model, task and metric."""

Values = dict[str | None, float | None]
"""Value by prompt id, or by block of prompts for a metric of the whole corpus; where that has no
blocks, by None."""

Members = Sequence[Values]
"""The values of each seed of a column; one for a model of its own."""


def group_columns(
    there: Sequence[str], series: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The members of each column that have scores, in the order of the table."""
    of = {member: name for name, members in series.items() for member in members}
    columns: dict[str, tuple[str, ...]] = {}
    for model in there:
        name = of.get(model, model)
        columns[name] = (*columns.get(name, ()), model)
    return columns


def scores_by_key(
    scores: pa.Table, smaller: pa.Table | None
) -> tuple[dict[Key, Counted], dict[Key, Counter[str]]]:
    """The scores of every model, task and metric, and how often each reason stands there."""
    kinds = ["model", "task", "metric"]
    cells = scores.group_by([*kinds, "prompt_id"]).aggregate([([], "count_all")])
    twice = cells.filter(pc.greater(cells.column("count_all"), 1))
    for cell in twice.slice(0, 1).to_pylist():
        raise DataError(
            f"The scores hold two values of '{cell['metric']}' for the model '{cell['model']}' on "
            f"prompt '{cell['prompt_id']}' of '{cell['task']}', expected one. Score the run again."
        )
    reasons: dict[Key, Counter[str]] = {}
    told = scores.filter(pc.is_valid(scores.column("reason")))
    counts = told.group_by([*kinds, "reason"], use_threads=False).aggregate([([], "count_all")])
    for model, task, metric, reason, count in zip(
        *to_columns(counts, (*kinds, "reason", "count_all")), strict=True
    ):
        reasons.setdefault((model, task, metric), Counter())[reason] = count
    table = counted(scores, smaller)
    for cell in table.values():
        if len(cell.values) > 1:  # the blocks of a corpus, of which the whole is the mean
            cell.values.pop(None, None)
            cell.counts.pop(None, None)
    return table, reasons


def mean_of_column(
    members: Members, clusters: Mapping[Any, str] | None = None
) -> tuple[Interval, int, Components | None]:
    """Mean with its interval, how many prompts are undefined, what varies with seeds."""
    ids, table = whole_table(members)
    undefined = len(set().union(*members)) - len(ids)
    units = table if clusters is None else _cluster_table(table, ids, clusters)
    if len(members) < 2 or units.shape[1] < 2:
        mean = mean_interval([float(v) for v in units.mean(axis=0)])
        if clusters is not None:
            name = f"mean, 95% bootstrap-t over {mean.n} clusters of prompts, second order"
            mean = replace(mean, n=len(ids), method=name)
        return mean, undefined, None
    found = crossed_mean(units)
    over = "prompts" if clusters is None else f"{units.shape[1]} clusters of prompts"
    name = f"mean, 95% interval over {over} crossed with {len(members)} seeds"
    mean = Interval(found.value, found.low, found.high, len(ids), name)
    return mean, undefined, found.components


def cross_seeds(
    ours: Members, theirs: Members, clusters: Mapping[Any, str] | None
) -> Crossed | None:
    """The difference of prompts crossed with seeds; None where no side has several."""
    if not ours or not theirs or max(len(ours), len(theirs)) < 2:
        return None
    (ids, a), (others, b) = whole_table(ours), whole_table(theirs)
    at, there = ({id: i for i, id in enumerate(some)} for some in (ids, others))
    both = [id for id in ids if id in there]
    a, b = a[:, [at[id] for id in both]], b[:, [there[id] for id in both]]
    if clusters is not None:
        a, b = (_cluster_table(side, both, clusters) for side in (a, b))
    return crossed_difference(a, b) if a.shape[1] > 1 else None


def whole_table(members: Members) -> tuple[list[str | None], Floats]:
    """The prompts that every member has a value for, in order, and the values, (members, ids)."""
    defined = [{id for id, v in values.items() if v is not None} for values in members]
    ids = sorted(set.intersection(*defined), key=str) if defined else []
    table = [[values[id] for id in ids] for values in members]
    return ids, np.array(table, dtype=np.float64).reshape(len(members) or 1, len(ids))


def mean_over_seeds(members: Members) -> Values:
    """The mean over members by prompt; None where one of them has none."""
    if len(members) == 1:
        return members[0]
    ids, table = whole_table(members)
    every: Values = dict.fromkeys(set().union(*members))
    return every | dict(zip(ids, table.mean(axis=0).tolist(), strict=True))


def _cluster_table(table: Floats, ids: Sequence[str | None], clusters: Mapping[Any, str]) -> Floats:
    """A value a cluster in place of one a prompt, for each seed."""
    rows = [
        list(spread_clusters(dict(zip(ids, row.tolist(), strict=True)), clusters).values())
        for row in table
    ]
    return np.array(rows, dtype=np.float64).reshape(len(table), -1)


def unit_values(
    values: Mapping[Any, float | None], clusters: Mapping[Any, str] | None
) -> dict[Any, float]:
    """What a mean stands on: the values of prompts, or one a cluster."""
    known = {id: value for id, value in values.items() if value is not None}
    return known if clusters is None else dict(spread_clusters(known, clusters))
