"""Quality-adjusted diversity, compared on the prompts where every model has it.

`vendi[reward>=-3]` is defined for a model on a prompt where at least two of its responses pass. If
each model were averaged over its own such prompts, a model that is good on easy prompts alone would
be measured on easy prompts alone. So a prompt counts for all models or for none.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.types import SCORE_SCHEMA

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
    places = zip(
        *(scores.column(n).to_pylist() for n in ("task", "metric", "prompt_id")), strict=True
    )
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
    for task, metric, model, prompt, value in zip(
        *(rows.column(name).to_pylist() for name in columns), strict=True
    ):
        if prompt is not None:
            found.setdefault((task, metric), {}).setdefault(model, {})[prompt] = value
    return found
