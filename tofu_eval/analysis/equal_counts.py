"""Scores at equal numbers of responses: which k two models are compared at on each prompt.

A metric that moves with the number of responses says nothing of two models that have different
numbers. So each prompt is compared at the smaller of its two counts; `pipeline/equal_counts.py`
scores the larger group at that k, here the values are put together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.tables import to_columns

LEAST = 2
"""Responses below which no metric of diversity says anything."""

Values = dict[str | None, float | None]


@dataclass(frozen=True, slots=True)
class Counted:
    """The scores of one model, task and metric by prompt: at their own count, and at smaller ones.

    `counts` is how many responses each prompt's value stands on; `smaller` has by prompt the value
    at each smaller count that was made, with the variance that other subsets would give it.
    """

    values: Values = field(default_factory=dict)
    counts: dict[str | None, int] = field(default_factory=dict)
    smaller: dict[str | None, dict[int, tuple[float | None, float]]] = field(default_factory=dict)

    def at(self, prompt: str | None, count: int) -> tuple[float | None, float] | None:
        """The value at that count and its variance over subsets; None where it was not made."""
        if self.counts[prompt] == count:
            return self.values[prompt], 0.0
        return self.smaller.get(prompt, {}).get(count)


@dataclass(frozen=True, slots=True)
class Counts:
    """At how many responses a prompt values were made: the fewest, the most, and on average."""

    least: int
    most: int
    mean: float

    @classmethod
    def of(cls, counts: Iterable[int]) -> Counts | None:
        """None for no prompt."""
        known = list(counts)
        if not known:
            return None
        return cls(min(known), max(known), sum(known) / len(known))


@dataclass(frozen=True, slots=True)
class Equalised:
    """Two sides at equal counts, prompt by prompt, a table for each of their members.

    `counts` says at which, `responses` how many the two sides have on average over the prompts that
    both have, `total` how many prompts any of them has. `left_out` are prompts with too few
    responses of one of them. `missing` are those whose values at the smaller count were never made.
    `noise` is the variance of the mean difference over other subsets of the responses; 0 where
    nothing was left to chance.
    """

    ours: tuple[Values, ...]
    theirs: tuple[Values, ...]
    counts: Counts | None = None
    responses: tuple[float, float] | None = None
    left_out: tuple[str | None, ...] = ()
    missing: tuple[str | None, ...] = ()
    noise: float = 0.0
    unequal: bool = False
    total: int = 0


def equalise(
    ours: Sequence[Counted],
    theirs: Sequence[Counted],
    *,
    least: int = LEAST,
    fixed: int | None = None,
) -> Equalised:
    """Both sides at the smaller of their counts on each prompt that both have.

    Args:
        ours: a model, or the seeds of a series.
        theirs: the other.
        least: responses below which a prompt is left out.
        fixed: the count for all prompts, in place of the smaller one.
    """
    shared = set.intersection(*(set(side.counts) for side in (*ours, *theirs)))
    prompts = [prompt for prompt in ours[0].counts if prompt in shared]
    tables: list[Values] = [{} for _ in (*ours, *theirs)]
    used: list[int] = []
    left_out: list[str | None] = []
    missing: list[str | None] = []
    noise, defined, unequal = 0.0, 0, False
    for prompt in prompts:
        sizes = [side.counts[prompt] for side in (*ours, *theirs)]
        count = fixed or min(sizes)
        if min(sizes) < max(count, least):
            left_out.append(prompt)
            continue
        unequal = unequal or any(size != count for size in sizes)
        cells = [side.at(prompt, count) for side in (*ours, *theirs)]
        if any(cell is None for cell in cells):
            missing.append(prompt)
            continue
        known = [cell for cell in cells if cell is not None]
        for table, (value, _) in zip(tables, known, strict=True):
            table[prompt] = value
        used.append(count)
        if all(value is not None for value, _ in known):
            defined += 1
            noise += sum(v for _, v in known[: len(ours)]) / len(ours) ** 2
            noise += sum(v for _, v in known[len(ours) :]) / len(theirs) ** 2
    return Equalised(
        tuple(tables[: len(ours)]),
        tuple(tables[len(ours) :]),
        Counts.of(used),
        mean_counts(ours, theirs, prompts),
        tuple(left_out),
        tuple(missing),
        noise / defined**2 if defined else 0.0,
        unequal or bool(left_out),
        count_prompts(ours, theirs),
    )


def count_prompts(ours: Sequence[Counted], theirs: Sequence[Counted]) -> int:
    """How many prompts any of them has scores of."""
    return len(set().union(*(side.counts for side in (*ours, *theirs))))


def mean_counts(
    ours: Sequence[Counted], theirs: Sequence[Counted], prompts: Sequence[str | None]
) -> tuple[float, float] | None:
    """How many responses a prompt the two sides have, on average over these prompts."""
    if not prompts:
        return None
    sums = [
        sum(side.counts[prompt] for side in some for prompt in prompts) / len(some)
        for some in (ours, theirs)
    ]
    return sums[0] / len(prompts), sums[1] / len(prompts)


def counted(scores: pa.Table, smaller: pa.Table | None) -> dict[tuple[str, str, str], Counted]:
    """The scores by model, task and metric.

    Args:
        scores: a table of SCORE_SCHEMA, no two rows of one prompt.
        smaller: a table of EQUAL_SCHEMA: scores at smaller counts.
    """
    found: dict[tuple[str, str, str], Counted] = {}
    columns = ("model", "task", "metric", "prompt_id", "value", "n")
    for model, task, metric, prompt, value, n in zip(*to_columns(scores, columns), strict=True):
        cell = found.setdefault((model, task, metric), Counted())
        cell.values[prompt] = value
        cell.counts[prompt] = n
    if smaller is not None:
        for model, task, metric, prompt, value, n, noise in zip(
            *to_columns(smaller, (*columns, "noise")), strict=True
        ):
            if (model, task, metric) in found:
                made = found[model, task, metric].smaller.setdefault(prompt, {})
                made[n] = (value, noise)
    return found


def are_equal(scores: pa.Table, moved: Collection[str], least: int = 0) -> bool:
    """Whether the scores of each of these metrics on each task are at one number of responses, and
    at least at so many.

    Args:
        scores: a table of SCORE_SCHEMA.
        moved: the metrics that move with the number of responses.
        least: that many.
    """
    own = pc.is_in(scores.column("metric"), pa.array(sorted(moved), pa.string()))
    rows = scores.filter(pc.and_(own, pc.is_valid(scores.column("prompt_id"))))
    ends = rows.group_by(["task", "metric"]).aggregate([("n", "min"), ("n", "max")])
    return all(
        fewest == most and fewest >= least
        for fewest, most in zip(*to_columns(ends, ("n_min", "n_max")), strict=True)
    )


def block_count(counts: Mapping[str, Mapping[str | None, int]]) -> int | None:
    """The fixed number of responses at which the models of a board's block are ranked.

    It is the smallest that every model reaches on nine tenths of its prompts; a model that does not
    have two responses on as many takes no part and does not lower it.

    Args:
        counts: responses by model and prompt.
    Returns: at least 2; None where no model has as many.
    """
    reached = {model: _reached(list(own.values())) for model, own in counts.items()}
    able = [count for count in reached.values() if count >= LEAST]
    return min(able) if able else None


def _reached(counts: Sequence[int]) -> int:
    """The largest number that nine tenths of the counts reach."""
    if not counts:
        return 0
    ordered = sorted(counts, reverse=True)
    return ordered[-(-len(ordered) * 9 // 10) - 1]
