"""Models against a baseline, prompt by prompt, from the table of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from tofu_eval.analysis import (
    Components,
    Crossed,
    Difference,
    Interval,
    Pair,
    crossed_difference,
    crossed_mean,
    least_p_value,
    mean_interval,
    method_of,
    paired,
    paired_differences,
    spread_clusters,
    within,
)
from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.equal_counts import (
    LEAST,
    Counted,
    Counts,
    Equalised,
    count_prompts,
    counted,
    equalise,
    mean_counts,
)
from tofu_eval.analysis.intervals import Floats
from tofu_eval.core.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from tofu_eval.analysis.warnings import ValidityWarning

ALPHA = 0.05
"""The share of false alarms, over a whole comparison, that a clear difference may have."""

LENGTH_RATIO = 1.25
"""Mean lengths that are further apart than this void what length moves."""

CLUSTER_RATIO = 1.5
"""How much wider an interval over known categories must be to be told unasked."""

SHARE_MARGIN = 0.02
"""The margin of equivalence of a share or an accuracy, where none is given."""

SPREAD_MARGIN = 0.2
"""That of another quality, in standard deviations of the baseline over prompts."""

Key = tuple[str, str, str]
"""Model, task and metric."""

Values = dict[str | None, float | None]
"""Value by prompt id, or by block of prompts for a metric of the whole corpus; where that has no
blocks, by None."""

Members = Sequence[Values]
"""The values of each seed of a column; one for a model of its own."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why nothing is said of a difference, and the numbers that show it.

    `kind` "counts": the metric moves with the number of responses, and `prompts` prompts could not
    be compared at equal numbers (`ours` and `theirs` are the mean numbers). "lengths": the metric
    moves with length, and the mean lengths `ours` and `theirs` differ by more than LENGTH_RATIO.
    "prompts": fewer than two prompts are left of those that both have; `prompts` were left out.
    """

    kind: Literal["counts", "lengths", "prompts"]
    ours: float
    theirs: float
    prompts: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one row. Without scores there, `mean.n` and `undefined` are 0.

    `reasons` counts why prompts are undefined. `difference` is model − baseline, None for the
    baseline itself; `p_adjusted` is its p-value adjusted over all the differences of the
    comparison. Where the model, or the baseline, is a series of several seeds, `spread` says
    what the variance of the difference (of the baseline's own cell: of the mean) consists of.

    `counts` says at how many responses a prompt the mean and the difference were made (the
    baseline's own mean: at all that it has), `unequal` whether the two sides have different numbers
    of them, `left_out` how many prompts have too few, and `noise` the standard deviation that other
    subsets of the larger side would give the difference; 0 where no subset was drawn.

    `withheld` says why there is no verdict; empty where there is one. `turn` is the verdict: -1
    where the model is clearly less diverse than the baseline (of quality: worse; of what has no
    direction: lower), 1 more, 0 not clearly different, None where nothing can be said. `margin` is
    that of equivalence in the metric's unit, None where there is none; `equivalent` whether the
    difference is shown to lie within it on both sides, `no_loss` whether it is shown to be no
    further on the bad side. `least_p` is the smallest p-value that so few prompts could give: from
    0.05 on no result could be clear.
    """

    model: str
    mean: Interval
    undefined: int
    reasons: Mapping[str, int]
    difference: Difference | None
    p_adjusted: float | None = None
    spread: Components | None = None
    counts: Counts | None = None
    responses: tuple[float, float] | None = None
    unequal: bool = False
    left_out: int = 0
    noise: float = 0.0
    withheld: tuple[Withheld, ...] = ()
    turn: int | None = None
    margin: float | None = None
    equivalent: bool | None = None
    no_loss: bool = False
    least_p: float = 0.0


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
class Widened:
    """A task whose prompts have known categories over which an interval is much wider.

    `field` is what to give --cluster; `ratio` how many times as wide the interval of `model`'s
    difference on `metric` is, the largest on the task, `clusters` how many categories there are.
    """

    task: str
    field: str
    model: str
    metric: str
    ratio: float
    clusters: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models by metrics, with the paired differences to `baseline`.

    `tests` counts the p-values that were adjusted together, `level` is the p-value below which the
    first of them is clear. `seeds` names the members of each model that is a series of several.
    `clusters` is by task the field that prompts were clustered by, where they were, and
    `widened` says where known categories would make much wider intervals.
    `warnings` are what a reader must know, and what voids a verdict.
    """

    baseline: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    tests: int
    seeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[ValidityWarning, ...] = ()
    level: float = ALPHA
    clusters: Mapping[str, str] = field(default_factory=dict)
    widened: tuple[Widened, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """How many of a model's texts an embedding model has no words for, and what stands on them."""

    texts: int = 0
    total: int = 0
    metrics: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class How:
    """How a comparison is made, and what it needs to know beside the scores.

    Args:
        facts: what is known of each metric by name, as run.json has it: what it `measures`, its
            `range`, `level`, `bias`, `unit`, what it sees of what people see (`human`), whether
            it is `count_sensitive` and `length_sensitive`.
        lengths: mean characters of a response by model and task; none where nobody knows.
        truncate: whether the length-sensitive metrics saw texts of equal length.
        metadata: what is known of the prompts, by task and prompt id.
        fields: by task, the field of it by which prompts are clustered; where a task has none,
            each prompt stands for itself.
        margins: margins of equivalence by metric, in its unit.
        min_responses: responses a prompt below which it is left out, at least 2.
        responses: the number of responses for all prompts, in place of the smaller of two counts.
        unread: by model and task, the texts that the embedding model has no words for.
    """

    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lengths: Mapping[tuple[str, str], float] = field(default_factory=dict)
    truncate: bool = False
    metadata: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    min_responses: int = LEAST
    responses: int | None = None
    unread: Mapping[tuple[str, str], Unread] = field(default_factory=dict)

    def shown(self, mean: Interval, metric: str) -> Interval:
        """A mean as the metric has it: within its range, its bias named."""
        known = self.facts.get(metric, {})
        told = method_of(mean, level=known.get("level", "group"), bias=known.get("bias", ""))
        return within(replace(mean, method=told), _ends(known))

    def clusters(self, task: str, field: str | None = None) -> Mapping[Any, str] | None:
        """The cluster of each prompt of a task; None where prompts are not clustered.

        Raises:
            DataError: a prompt has no such field.
        """
        name = field or self.fields.get(task)
        if name is None:
            return None
        prompts = self.metadata.get(task, {})
        for id, known in prompts.items():
            if name not in known:
                have = ", ".join(sorted(known)) or "nothing"
                raise DataError(
                    f"The prompt '{id}' of '{task}' has no field '{name}' to cluster by; known of "
                    f"it: {have}. Give every row of a prompt the same, and score with --cluster "
                    f"{name}; or name another field"
                )
        return {id: known[name] for id, known in prompts.items()}


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
    columns = _columns(there, series or {})
    if baseline not in columns:
        raise UnknownNameError.of("model", baseline, columns, "tofu-eval compare RUN")
    table, reasons = _by_key(scores, smaller)
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
        lengths = [_length(how, columns[name], key[1]) for name in (key[0], baseline)]
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
        widened=_widened(pairs, differences, how),
    )
    from tofu_eval.analysis.warnings import scores_warnings  # which are about comparisons

    return replace(comparison, warnings=scores_warnings(comparison, scores, how.unread))


def excludes_zero(cell: Cell) -> bool:
    """Whether the interval of the difference to the baseline lies on one side of 0."""
    return cell.difference is not None and paired.excludes_zero(cell.difference)


def is_clear(cell: Cell) -> bool:
    """Whether the difference stands after the adjustment too, and nothing voids it: `**`."""
    p = cell.p_adjusted
    return excludes_zero(cell) and not cell.withheld and p is not None and p < ALPHA


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
    clusters = _clusters_of(key, equal, how)
    return Pair(
        _over_seeds(equal.ours),
        _over_seeds(equal.theirs),
        key[1],
        clusters,
        _crossed(equal.ours, equal.theirs, clusters),
    )


def _clusters_of(key: Key, equal: Equalised, how: How) -> Mapping[Any, str] | None:
    """The clusters of the prompts; None for the blocks of a corpus, which are none."""
    if how.facts.get(key[2], {}).get("level") == "corpus":
        return None
    return how.clusters(key[1])


def _crossed(ours: Members, theirs: Members, clusters: Mapping[Any, str] | None) -> Crossed | None:
    """The difference of prompts crossed with seeds; None where no side has several."""
    if not ours or not theirs or max(len(ours), len(theirs)) < 2:
        return None
    (ids, a), (others, b) = _whole(ours), _whole(theirs)
    at, there = ({id: i for i, id in enumerate(some)} for some in (ids, others))
    both = [id for id in ids if id in there]
    a, b = a[:, [at[id] for id in both]], b[:, [there[id] for id in both]]
    if clusters is not None:
        a, b = (_cluster_table(side, both, clusters) for side in (a, b))
    return crossed_difference(a, b) if a.shape[1] > 1 else None


def _cluster_table(table: Floats, ids: Sequence[str | None], clusters: Mapping[Any, str]) -> Floats:
    """A value a cluster in place of one a prompt, for each seed."""
    rows = [
        list(spread_clusters(dict(zip(ids, row.tolist(), strict=True)), clusters).values())
        for row in table
    ]
    return np.array(rows, dtype=np.float64).reshape(len(table), -1)


def _baseline_cell(key: Key, members: Sequence[Counted], reasons: Counter[str], how: How) -> Cell:
    """The baseline's own mean, at all the responses that it has."""
    values = [side.values for side in members]
    clusters = how.clusters(key[1]) if _has_prompts(key, how) else None
    mean, undefined, spread = _mean(values, clusters)
    counts = Counts.of(n for side in members for n in side.counts.values())
    return Cell(key[0], how.shown(mean, key[2]), undefined, reasons, None, None, spread, counts)


def _has_prompts(key: Key, how: How) -> bool:
    return how.facts.get(key[2], {}).get("level") != "corpus"


def _cell(
    key: Key,
    members: Sequence[Counted],
    equal: Equalised,
    pair: Pair,
    difference: Difference,
    reasons: Counter[str],
    lengths: Sequence[float | None],
    direction: str,
    how: How,
) -> Cell:
    """A model beside the baseline."""
    # Its own prompts where nothing had to be made equal; else those of the difference.
    own = list(equal.ours) if equal.unequal else [side.values for side in members]
    mean, undefined, _ = _mean(own, pair.clusters)
    facts = how.facts.get(key[2], {})
    difference = replace(difference, dropped=equal.total - difference.n)
    difference = _within_range(difference, facts)
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
        tuple(_withheld(key, equal, difference, lengths, how)),
    )
    margin = _margin(key[2], equal, facts, how)
    near = _nearness(difference, margin, direction)
    least = least_p_value(difference.units) if pair.crossed is None and difference.n else 0.0
    cell = replace(cell, margin=margin, equivalent=near[0], no_loss=near[1], least_p=least)
    return replace(cell, turn=_turn(cell, direction))


def _turn(cell: Cell, direction: str) -> int | None:
    """-1, 0 or 1 where something can be said."""
    difference = cell.difference
    if cell.withheld or difference is None or cell.p_adjusted is None:
        return None
    if not is_clear(cell) or difference.value is None:
        return 0
    up = 1 if difference.value > 0 else -1
    return up * (sign_of_direction(direction) or 1)


def _withheld(
    key: Key,
    equal: Equalised,
    difference: Difference,
    lengths: Sequence[float | None],
    how: How,
) -> list[Withheld]:
    """What voids a difference."""
    found = []
    if equal.missing:
        found.append(Withheld("counts", *(equal.responses or (0.0, 0.0)), len(equal.missing)))
    elif equal.left_out and difference.n < 2:
        found.append(Withheld("prompts", *(equal.responses or (0.0, 0.0)), len(equal.left_out)))
    ours, theirs = lengths
    moved = how.facts.get(key[2], {}).get("length_sensitive") and not how.truncate
    if moved and ours and theirs and max(ours, theirs) > LENGTH_RATIO * min(ours, theirs):
        found.append(Withheld("lengths", ours, theirs))
    return found


def _length(how: How, members: Sequence[str], task: str) -> float | None:
    """Mean characters of a response, over the seeds of a series."""
    known = [how.lengths[m, task] for m in members if (m, task) in how.lengths]
    return sum(known) / len(known) if known else None


def _margin(metric: str, equal: Equalised, facts: Mapping[str, Any], how: How) -> float | None:
    """The margin of equivalence: as given, else by default for a quality."""
    if metric in how.margins:
        return how.margins[metric]
    if facts.get("measures") != "quality" or facts.get("direction") == "none":
        return None
    if tuple(facts.get("range", ())) == ("0", "1"):
        return SHARE_MARGIN
    _, table = _whole(equal.theirs)
    values = table.mean(axis=0)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return SPREAD_MARGIN * spread or None


def _nearness(difference: Difference, margin: float | None, direction: str) -> tuple[bool, bool]:
    """Whether the 90% interval lies within the margin; and whether on the bad side."""
    low, high = difference.low_90, difference.high_90
    if margin is None or low is None or high is None:
        return False, False
    worst = -high if sign_of_direction(direction) < 0 else low
    return -margin < low and high < margin, worst > -margin


def _within_range(difference: Difference, facts: Mapping[str, Any]) -> Difference:
    """The interval within what a difference of two such values can be.

    The truth is nowhere else, so that what lies outside holds nothing: the coverage stays.
    """
    ends = _ends(facts)
    if ends is None or difference.low is None or difference.high is None:
        return difference
    try:
        most = float(ends[1]) - float(ends[0])
    except ValueError:  # "n", which is no number
        return difference
    value = difference.value or 0.0
    low, high = min(value, max(difference.low, -most)), max(value, min(difference.high, most))
    return replace(difference, low=low, high=high)


def _ends(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    ends = facts.get("range")
    return None if ends is None else (ends[0], ends[1])


def _widened(
    pairs: Mapping[Key, Pair], differences: Mapping[Key, Difference], how: How
) -> tuple[Widened, ...]:
    """Where known categories make an interval much wider than prompts that stand for themselves."""
    found: dict[tuple[str, str], Widened] = {}
    for key, pair in pairs.items():
        plain = differences[key]
        if key[1] in how.fields or pair.crossed is not None or plain.sd is None:
            continue
        if not _has_prompts(key, how):
            continue
        for name in _categories(how.metadata.get(key[1], {})):
            clusters = how.clusters(key[1], name)
            away = {
                id: a - b
                for id, a in pair.a.items()
                if a is not None and (b := pair.b.get(id)) is not None
            }
            wide = mean_interval(list(spread_clusters(away, clusters or {}).values()))
            if wide.low is None or wide.high is None or plain.low is None or plain.high is None:
                continue
            narrow = plain.high - plain.low
            ratio = (wide.high - wide.low) / narrow if narrow else 0.0
            if ratio > CLUSTER_RATIO and ratio > getattr(found.get((key[1], name)), "ratio", 0.0):
                found[key[1], name] = Widened(key[1], name, key[0], key[2], ratio, wide.n)
    return tuple(found.values())


def _categories(prompts: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The fields that put all prompts into categories: two or more, of two prompts on average."""
    if not prompts:
        return []
    names = set.intersection(*(set(known) for known in prompts.values()))
    sizes = {name: len({known[name] for known in prompts.values()}) for name in sorted(names)}
    return [name for name, size in sizes.items() if 2 <= size <= len(prompts) / 2]


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


def _mean(
    members: Members, clusters: Mapping[Any, str] | None = None
) -> tuple[Interval, int, Components | None]:
    """Mean with its interval, how many prompts are undefined, what varies with seeds."""
    ids, table = _whole(members)
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


def _by_key(
    scores: pa.Table, smaller: pa.Table | None
) -> tuple[dict[Key, Counted], dict[Key, Counter[str]]]:
    """The scores of every model, task and metric, and how often each reason stands there."""
    reasons: dict[Key, Counter[str]] = {}
    seen: set[tuple[str, str, str, str | None]] = set()
    columns = ("model", "task", "metric", "prompt_id", "reason")
    for model, task, metric, prompt, reason in zip(
        *(scores.column(name).to_pylist() for name in columns), strict=True
    ):
        if (model, task, metric, prompt) in seen:
            raise DataError(
                f"The scores hold two values of '{metric}' for the model '{model}' on prompt "
                f"'{prompt}' of '{task}', expected one. Score the run again."
            )
        seen.add((model, task, metric, prompt))
        if reason is not None:
            reasons.setdefault((model, task, metric), Counter())[reason] += 1
    table = counted(scores, smaller)
    for cell in table.values():
        if len(cell.values) > 1:  # the blocks of a corpus, of which the whole is the mean
            cell.values.pop(None, None)
            cell.counts.pop(None, None)
    return table, reasons
