"""The prompts on which every model has every measure: what models can be compared on as a whole.

Diversity among good responses is the case in point: a model with fewer than two good responses to
a prompt has none there. Were each model averaged over its own prompts, they would be averaged over
different questions, the easiest ones of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tofu_eval.analysis.pareto import Floats
from tofu_eval.core.errors import DataError, UnknownNameError
from tofu_eval.core.tables import SCORE_SCHEMA, to_columns


@dataclass(frozen=True, eq=False)
class Common:
    """Scores by prompt, without those prompts that some model lacks.

    `values` is (metrics, models, prompts), in the order in which they were asked for, prompts by
    id. `dropped` are the other prompts, `lacking` says of how many prompts each model has too
    little, by model.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    prompts: tuple[str, ...]
    values: Floats
    dropped: tuple[str, ...]
    lacking: dict[str, int]


def common_prompts(
    scores: pa.Table, task: str, models: Sequence[str], metrics: Sequence[str]
) -> Common:
    """The scores of these models on the prompts where all have all of these metrics.

    Args:
        scores: a table of SCORE_SCHEMA.
        task: one of its tasks.
        models: at least one, each of them in the table.
        metrics: at least one, with a value a prompt.
    Raises:
        UnknownNameError: the task was not scored with a metric.
        DataError: a metric has one value of the whole corpus, a score stands twice, or no prompt
            is left.
    """
    rows = scores.filter(pc.equal(scores.column("task"), task))
    known = rows.column("metric").unique().to_pylist()
    for metric in metrics:
        if metric not in known:
            raise UnknownNameError.of("metric", metric, known, "tofu-eval compare RUN")
    rows = rows.filter(pc.is_in(rows.column("metric"), pa.array(metrics, pa.string())))
    rows = rows.filter(pc.is_in(rows.column("model"), pa.array(models, pa.string())))
    if rows.column("prompt_id").null_count:
        pooled = rows.filter(pc.is_null(rows.column("prompt_id"))).column("metric")[0].as_py()
        raise DataError(
            f"'{pooled}' has one value of the whole corpus, expected a value a prompt. Take "
            "another metric: tofu-eval metrics list"
        )
    every = sorted(rows.column("prompt_id").unique().to_pylist())
    values = _cube(rows, models, metrics, every)
    there: NDArray[np.bool_] = np.all(~np.isnan(values), axis=0)
    whole: NDArray[np.bool_] = np.all(there, axis=0)
    common = Common(
        tuple(models),
        tuple(metrics),
        tuple(id for id, kept in zip(every, whole, strict=True) if kept),
        values[:, :, whole],
        tuple(id for id, kept in zip(every, whole, strict=True) if not kept),
        {model: int((~row).sum()) for model, row in zip(models, there, strict=True)},
    )
    if not common.prompts:
        raise DataError(_nothing(common, task))
    return common


def _cube(
    rows: pa.Table, models: Sequence[str], metrics: Sequence[str], prompts: Sequence[str]
) -> Floats:
    """(metrics, models, prompts); NaN where there is no value."""
    places = [{name: i for i, name in enumerate(names)} for names in (metrics, models, prompts)]
    values = np.full([len(place) for place in places], np.nan)
    seen = set()
    columns = ("metric", "model", "prompt_id", "value")
    for *names, value in zip(*to_columns(rows, columns), strict=True):
        at = tuple(place[name] for place, name in zip(places, names, strict=True))
        if at in seen:
            metric, model, prompt = names
            raise DataError(
                f"The scores hold two values of '{metric}' for the model '{model}' on prompt "
                f"'{prompt}', expected one. Score the run again."
            )
        seen.add(at)
        values[at] = np.nan if value is None else value
    return values


def _nothing(common: Common, task: str) -> str:
    worst = max(common.lacking, key=lambda model: common.lacking[model])
    return (
        f"No prompt of '{task}' has {' and '.join(map(repr, common.metrics))} of all "
        f"{len(common.models)} models; '{worst}' lacks {common.lacking[worst]} of "
        f"{len(common.dropped)}. Leave that model out, lower the threshold, or draw more "
        "responses: --samples N"
    )


REASON = "left out: another model has too few responses that pass"

NAMED = 5
"""Dropped prompts that a note names."""


@dataclass(frozen=True, slots=True)
class Kept:
    """On which prompts a conditional metric is compared on a task.

    `lacking` counts, by model, the prompts where it is undefined.
    """

    task: str
    metric: str
    prompts: tuple[str, ...]
    dropped: tuple[str, ...]
    lacking: dict[str, int]

    def __str__(self) -> str:
        total = len(self.prompts) + len(self.dropped)
        named = ", ".join(self.dropped[:NAMED]) + (", …" if len(self.dropped) > NAMED else "")
        worst = sorted(self.lacking.items(), key=lambda item: -item[1])
        why = ", ".join(f"{model} on {count}" for model, count in worst if count)
        return (
            f"{self.metric} on {self.task} is compared on {len(self.prompts)} of {total} prompts, "
            "those where every model has at least two responses that pass. "
            f"Left out: {named}. Too few: {why}."
        )


def is_conditional(metric: str) -> bool:
    """Whether a metric is of the responses that pass: `vendi[correct]`, `vendi[reward>=0]`."""
    return metric.endswith("]") and "[" in metric


def kept_prompts(scores: pa.Table) -> list[Kept]:
    """For each conditional metric on each task, the prompts where all of its models have it.

    Args:
        scores: a table of SCORE_SCHEMA.
    """
    found = []
    for (task, metric), models in _conditional(scores).items():
        every = list(dict.fromkeys(prompt for column in models.values() for prompt in column))
        lacking = {
            model: [prompt for prompt in every if column.get(prompt) is None]
            for model, column in models.items()
        }
        gone = {prompt for prompts in lacking.values() for prompt in prompts}
        found.append(
            Kept(
                task,
                metric,
                tuple(prompt for prompt in every if prompt not in gone),
                tuple(prompt for prompt in every if prompt in gone),
                {model: len(prompts) for model, prompts in lacking.items()},
            )
        )
    return found


def on_kept_prompts(scores: pa.Table) -> pa.Table:
    """The scores, those of conditional metrics null with a reason where some model has none.

    Args:
        scores: a table of SCORE_SCHEMA; what is not conditional stays as it is.
    """
    dropped = {(k.task, k.metric, prompt) for k in kept_prompts(scores) for prompt in k.dropped}
    if not dropped:
        return scores
    places = zip(*to_columns(scores, ("task", "metric", "prompt_id")), strict=True)
    gone = pa.array([place in dropped for place in places], pa.bool_())
    lost = pc.and_(gone, pc.is_valid(scores.column("value")))
    value = pc.if_else(lost, pa.scalar(None, pa.float64()), scores.column("value"))
    reason = pc.if_else(lost, pa.scalar(REASON, pa.string()), scores.column("reason"))
    columns = {
        **{n: scores.column(n) for n in scores.schema.names},
        "value": value,
        "reason": reason,
    }
    return pa.table(columns, schema=SCORE_SCHEMA)


def _conditional(scores: pa.Table) -> dict[tuple[str, str], dict[str, dict[str, float | None]]]:
    """By task and metric, then by model, then by prompt: the values of conditional metrics."""
    metrics = [m for m in scores.column("metric").unique().to_pylist() if is_conditional(m)]
    rows = scores.filter(pc.is_in(scores.column("metric"), pa.array(metrics, pa.string())))
    found: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
    columns = ("task", "metric", "model", "prompt_id", "value")
    for task, metric, model, prompt, value in zip(*to_columns(rows, columns), strict=True):
        if prompt is not None:
            found.setdefault((task, metric), {}).setdefault(model, {})[prompt] = value
    return found
