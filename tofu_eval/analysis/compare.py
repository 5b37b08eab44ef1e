"""Models against a baseline, prompt by prompt, from the table of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tofu_eval.analysis import (
    Components,
    Crossed,
    Difference,
    Interval,
    crossed_difference,
    crossed_mean,
    holm,
    mean_interval,
    method_of,
    paired_differences,
    within,
)
from tofu_eval.analysis.intervals import Floats
from tofu_eval.analysis.shared_prompts import on_kept_prompts
from tofu_eval.core.errors import DataError, UnknownNameError
from tofu_eval.core.types import seed_of

if TYPE_CHECKING:
    from tofu_eval.analysis.warnings import ValidityWarning

ALPHA = 0.05
"""The share of false alarms, over a whole comparison, that a clear difference may have."""

Place = tuple[str, str, str]
"""Model, task and metric."""

Values = dict[str | None, float | None]
"""Value by prompt id, or by block of prompts for a metric of the whole corpus; where that has no
blocks, by None."""

Members = Sequence[Values]
"""The values of each seed of a column; one for a model of its own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one row. Without scores there, `mean.n` and `undefined` are 0.

    `reasons` counts why prompts are undefined. `difference` is model − baseline, None for the
    baseline itself; `p_holm` is its p-value adjusted over all the differences of the comparison.
    Where the model, or the baseline, is a series of several seeds, `spread` says what the variance
    of the difference (of the baseline's own cell: of the mean) consists of. `equivalent` says
    whether the difference lies within ± `margin` by two one-sided tests, where there is a margin.
    """

    model: str
    mean: Interval
    undefined: int
    reasons: Mapping[str, int]
    difference: Difference | None
    p_holm: float | None
    spread: Components | None = None
    margin: float | None = None
    equivalent: bool | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric on one task, a cell a model; `measures` is "diversity", "quality" or "length".

    `human` is how well the metric tells what people call diverse, `unit` what its values count.
    """

    task: str
    metric: str
    direction: str
    cells: tuple[Cell, ...]
    measures: str = "diversity"
    human: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models by metrics, with the paired differences to `baseline`.

    `tests` counts the p-values that were adjusted together; `seeds` names the members of each
    model that is a series of several. `warnings` are what a reader must know, and what voids a
    verdict.
    """

    baseline: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    tests: int
    seeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[ValidityWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class How:
    """How numbers are made: `interval` is one of `stats.INTERVALS`.

    `facts` says of a metric, by name, what it `measures` ("diversity" where nothing is said), its
    `range`, to which intervals are cut, its `level`, its `bias`, its `unit` and what it sees
    of what people see (`human`); as run.json does.
    """

    interval: str = "bootstrap-t"
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def shown(self, mean: Interval, metric: str) -> Interval:
        """A mean as the metric has it: cut to its range, its bias named."""
        known = self.facts.get(metric, {})
        told = method_of(mean, level=known.get("level", "group"), bias=known.get("bias", ""))
        ends = known.get("range")
        return within(replace(mean, method=told), None if ends is None else (ends[0], ends[1]))


def compare(
    scores: pa.Table,
    baseline: str,
    *,
    metrics: Mapping[str, str],
    seed: int = 0,
    series: Mapping[str, tuple[str, ...]] | None = None,
    how: How | None = None,
) -> Comparison:
    """Every model's mean with its 95% interval, and its paired difference to the baseline.

    Pairs are made by prompt id. A model without scores on a task has an empty cell there; nothing
    is imputed. Models, tasks and metrics stand in the order of the table. Several seeds of one
    series are one model, whose prompts are crossed with its seeds.

    Args:
        scores: a table of SCORE_SCHEMA.
        baseline: one of its models, or a series.
        metrics: direction by metric name ("higher", "lower" or "none" is more diverse); at least
            those of the table.
        seed: the run's; the same seed gives the intervals that the run's estimates have.
        series: the members of each column by its name, as `seeds_together` gives them; by default
            each model is a column.
        how: the kind of interval, and what is known of the metrics.
    Raises:
        UnknownNameError: the baseline has no scores, or a metric has no direction.
        DataError: the table has two values for one model, task, metric and prompt.
    """
    how = how or How()
    there = scores.column("model").unique().to_pylist()
    columns = _columns(there, series or {})
    if baseline not in columns:
        raise UnknownNameError.of("model", baseline, columns, "tofu-eval compare RUN")
    values, reasons = _by_place(on_kept_prompts(scores))
    kinds = list(dict.fromkeys((task, metric) for _, task, metric in values))
    for _, metric in kinds:
        if metric not in metrics:
            raise UnknownNameError.of("metric", metric, metrics, "tofu-eval metrics list")
    sides = {
        (column, *kind): [values[(m, *kind)] for m in members if (m, *kind) in values]
        for column, members in columns.items()
        for kind in kinds
    }
    differences = _differences(sides, baseline, seed, how.interval)
    tested = {p: d.p_value for p, (d, _) in differences.items() if d.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))

    def cell(place: Place) -> Cell:
        mean, undefined, spread = _mean(sides[place], seed_of(seed, *place), how.interval)
        difference, shared = differences.get(place, (None, None))
        return Cell(
            place[0],
            how.shown(mean, place[2]),
            undefined,
            sum((reasons.get((m, *place[1:]), Counter()) for m in columns[place[0]]), Counter()),
            difference,
            adjusted.get(place),
            shared if difference else spread,
        )

    rows = tuple(
        Row(
            task,
            metric,
            metrics[metric],
            tuple(cell((column, task, metric)) for column in columns),
            how.facts.get(metric, {}).get("measures", "diversity"),
            how.facts.get(metric, {}).get("human"),
            how.facts.get(metric, {}).get("unit", ""),
        )
        for task, metric in kinds
    )
    seeds = {name: members for name, members in columns.items() if len(members) > 1}
    return Comparison(baseline, tuple(columns), rows, len(tested), seeds)


def _columns(
    there: Sequence[str], series: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The members of each column that have scores, in the order of the table."""
    of = {member: name for name, members in series.items() for member in members}
    columns: dict[str, tuple[str, ...]] = {}
    for model in there:
        name = of.get(model, model)
        columns[name] = (*columns.get(name, ()), model)
    return columns


def _mean(members: Members, seed: int, method: str) -> tuple[Interval, int, Components | None]:
    """Mean with its interval, how many prompts are undefined, what varies with seeds."""
    ids, table = _whole(members)
    undefined = len(set().union(*members)) - len(ids)
    if len(members) < 2 or len(ids) < 2:
        mean = mean_interval([float(v) for v in table.mean(axis=0)], method=method, seed=seed)
        return mean, undefined, None
    found = crossed_mean(table)
    name = f"mean, 95% interval over prompts crossed with {len(members)} seeds"
    mean = Interval(found.value, found.low, found.high, len(ids), name)
    return mean, undefined, found.components


def _differences(
    sides: Mapping[Place, Members], baseline: str, seed: int, method: str
) -> dict[Place, tuple[Difference, Components | None]]:
    """Each side less the baseline; where one has several seeds, prompts are crossed with them."""
    versus = {
        place: (side, sides[(baseline, *place[1:])])
        for place, side in sides.items()
        if place[0] != baseline
    }
    found = paired_differences(
        [(_over_seeds(own), _over_seeds(base)) for own, base in versus.values()],
        seed=seed,
        method=method,
    )
    made: dict[Place, tuple[Difference, Components | None]] = {}
    for (place, (own, base)), plain in zip(versus.items(), found, strict=True):
        if plain.n < 2 or max(len(own), len(base)) < 2:
            made[place] = plain, None
            continue
        (ids, a), (others, b) = _whole(own), _whole(base)
        at, there = ({id: i for i, id in enumerate(some)} for some in (ids, others))
        both = [id for id in ids if id in there]
        crossed = crossed_difference(
            a[:, [at[id] for id in both]], b[:, [there[id] for id in both]]
        )
        made[place] = _with_seeds(plain, crossed), crossed.components
    return made


def _with_seeds(plain: Difference, found: Crossed) -> Difference:
    """The difference over prompts, with the interval and test of prompts and seeds."""
    return replace(plain, value=found.value, low=found.low, high=found.high, p_value=found.p_value)


def _whole(members: Members) -> tuple[list[str | None], Floats]:
    """The prompts that every member has a value for, in order, and the values, (members, ids)."""
    defined = [{id for id, v in values.items() if v is not None} for values in members]
    ids = sorted(set.intersection(*defined), key=str) if defined else []
    table = [[values[id] for id in ids] for values in members]
    return ids, np.array(table, dtype=np.float64).reshape(len(members) or 1, len(ids))


def _over_seeds(members: Members) -> Values:
    """The mean over members by prompt; None where one of them has none."""
    if len(members) == 1:
        return members[0]
    ids, table = _whole(members)
    every: Values = dict.fromkeys(set().union(*members))
    return every | dict(zip(ids, table.mean(axis=0).tolist(), strict=True))


def _by_place(scores: pa.Table) -> tuple[dict[Place, Values], dict[Place, Counter[str]]]:
    """The values of every model, task and metric, and how often each reason stands there."""
    values: dict[Place, Values] = {}
    reasons: dict[Place, Counter[str]] = {}
    columns = ("model", "task", "metric", "prompt_id", "value", "reason")
    for model, task, metric, prompt, value, reason in zip(
        *(scores.column(name).to_pylist() for name in columns), strict=True
    ):
        place = (model, task, metric)
        prompts = values.setdefault(place, {})
        if prompt in prompts:
            raise DataError(
                f"The scores hold two values of '{metric}' for the model '{model}' on prompt "
                f"'{prompt}' of '{task}', expected one. Score the run again."
            )
        prompts[prompt] = value
        if reason is not None:
            reasons.setdefault(place, Counter())[reason] += 1
    for prompts in values.values():
        if len(prompts) > 1:  # the blocks of a corpus, of which the whole is the mean
            prompts.pop(None, None)
    return values, reasons


def excludes_zero(cell: Cell) -> bool:
    """Whether the interval of the difference to the baseline lies on one side of 0."""
    found = cell.difference
    if found is None or found.low is None or found.high is None:
        return False
    return not found.low <= 0 <= found.high


def is_clear(cell: Cell) -> bool:
    """Whether the difference stands after Holm's adjustment too: the mark `**`."""
    return excludes_zero(cell) and cell.p_holm is not None and cell.p_holm < ALPHA
