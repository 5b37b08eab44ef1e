"""Models against a baseline, prompt by prompt, from the table of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa

from tofu_eval.errors import DataError, UnknownNameError
from tofu_eval.stats import Difference, Interval, holm, mean_interval, paired_difference
from tofu_eval.types import seed_of

Place = tuple[str, str, str]
"""Model, task and metric."""

Values = dict[str | None, float | None]
"""Value by prompt id; the id is None for a value of the whole corpus."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one row. Without scores there, `mean.n` and `undefined` are 0.

    `reasons` counts why prompts are undefined. `difference` is model − baseline, None for the
    baseline itself; `p_holm` is its p-value adjusted over all the differences of the comparison.
    """

    model: str
    mean: Interval
    undefined: int
    reasons: Mapping[str, int]
    difference: Difference | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric on one task, a cell a model; `measures` is "diversity", "quality" or "length"."""

    task: str
    metric: str
    direction: str
    cells: tuple[Cell, ...]
    measures: str = "diversity"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models by metrics, with the paired differences to `baseline`.

    `tests` counts the p-values that were adjusted together.
    """

    baseline: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    tests: int


def compare(
    scores: pa.Table,
    baseline: str,
    *,
    metrics: Mapping[str, str],
    measures: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Every model's mean with its 95% interval, and its paired difference to the baseline.

    Pairs are made by prompt id. A model without scores on a task has an empty cell there; nothing
    is imputed. Models, tasks and metrics stand in the order of the table.

    Args:
        scores: a table of SCORE_SCHEMA.
        baseline: one of its models.
        metrics: direction by metric name ("higher", "lower" or "none" is more diverse); at least
            those of the table.
        measures: "diversity", "quality" or "length" by metric name; what is not named measures
            diversity.
        seed: the run's; the same seed gives the intervals that the run's estimates have.
    Raises:
        UnknownNameError: the baseline has no scores, or a metric has no direction.
        DataError: the table has two values for one model, task, metric and prompt.
    """
    models = tuple(scores.column("model").unique().to_pylist())
    if baseline not in models:
        raise UnknownNameError.of("model", baseline, models, "tofu-eval compare RUN")
    values, reasons = _by_place(scores)
    kinds = list(dict.fromkeys((task, metric) for _, task, metric in values))
    for _, metric in kinds:
        if metric not in metrics:
            raise UnknownNameError.of("metric", metric, metrics, "tofu-eval metrics list")
    differences = {
        (model, task, metric): paired_difference(
            values.get((model, task, metric), {}),
            values.get((baseline, task, metric), {}),
            seed=seed_of(seed, model, task, metric, baseline),
        )
        for task, metric in kinds
        for model in models
        if model != baseline
    }
    tested = {place: d.p_value for place, d in differences.items() if d.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))

    def cell(place: Place) -> Cell:
        own = list(values.get(place, {}).values())
        mean = mean_interval(own, seed=seed_of(seed, *place))
        undefined = len(own) - mean.n
        difference = differences.get(place)
        return Cell(
            place[0], mean, undefined, reasons.get(place, {}), difference, adjusted.get(place)
        )

    rows = tuple(
        Row(
            task,
            metric,
            metrics[metric],
            tuple(cell((model, task, metric)) for model in models),
            (measures or {}).get(metric, "diversity"),
        )
        for task, metric in kinds
    )
    return Comparison(baseline, models, rows, len(tested))


LENGTH_RATIO = 1.25
"""Mean lengths that are further apart than this are warned of."""


def length_warnings(
    comparison: Comparison,
    lengths: Mapping[tuple[str, str], float],
    sensitive: Collection[str],
) -> list[str]:
    """One line for each model and task whose length may be all that a difference shows.

    Args:
        comparison: what is shown.
        lengths: mean length of the responses by model and task, in characters.
        sensitive: the metrics that length moves.
    """
    moved: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        for cell in row.cells:
            if row.metric in sensitive and cell.difference and cell.difference.n:
                moved.setdefault((cell.model, row.task), []).append(row.metric)
    lines = []
    for (model, task), metrics in moved.items():
        own, other = lengths.get((model, task)), lengths.get((comparison.baseline, task))
        if not own or not other or max(own, other) <= LENGTH_RATIO * min(own, other):
            continue
        lines.append(
            f"On {task} the responses of {model} have {own:.0f} characters on average, those of "
            f"{comparison.baseline} {other:.0f}: differences in {', '.join(metrics)} may be only "
            "that. Compare equal lengths: score again with --truncate WORDS"
        )
    return lines


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
    return values, reasons
