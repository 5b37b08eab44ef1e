"""The records of a comparison: what is known, what is wanted, what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from tofu_eval.analysis import Components, Difference, Interval, method_of, paired, within
from tofu_eval.analysis.equal_counts import LEAST, Counts
from tofu_eval.analysis.equal_lengths import Lengths
from tofu_eval.core.errors import DataError

if TYPE_CHECKING:
    from tofu_eval.analysis.beats import Share
    from tofu_eval.analysis.over_tasks import Standing
    from tofu_eval.analysis.warnings import ValidityWarning

ALPHA = 0.05
"""The share of false alarms, over a whole comparison, that a clear difference may have."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why nothing is said of a difference, and the numbers that show it.

    `kind` "counts": the metric moves with the number of responses, and `prompts` prompts could not
    be compared at equal numbers (`ours` and `theirs` are the mean numbers). "lengths": the metric
    moves with length, and the mean lengths `ours` and `theirs` differ by more than LENGTH_RATIO of
    `equal_lengths`, or by enough that the difference is not clear at equal lengths.
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
    0.05 on no result could be clear. `beats` is the probability that the model beats the baseline
    on a prompt drawn at random; None for the baseline, and without a direction.
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
    beats: Share | None = None


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
    `over_tasks` is how models stand over several tasks. `warnings` are what a reader must know, and
    what voids a verdict.
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
    over_tasks: tuple[Standing, ...] = ()


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
        lengths: how long responses are, by model and task; none where nobody knows.
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
    lengths: Mapping[tuple[str, str], Lengths] = field(default_factory=dict)
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
        return within(replace(mean, method=told), ends_of(known))

    def has_prompts(self, metric: str) -> bool:
        """Whether the values of a metric are of prompts, not of the whole corpus."""
        return self.facts.get(metric, {}).get("level") != "corpus"

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


def excludes_zero(cell: Cell) -> bool:
    """Whether the interval of the difference to the baseline lies on one side of 0."""
    return cell.difference is not None and paired.excludes_zero(cell.difference)


def is_clear(cell: Cell) -> bool:
    """Whether the difference stands after the adjustment too, and nothing voids it: `**`."""
    p = cell.p_adjusted
    return excludes_zero(cell) and not cell.withheld and p is not None and p < ALPHA


def ends_of(facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """The range of a metric, from what is known of it."""
    ends = facts.get("range")
    return None if ends is None else (ends[0], ends[1])
