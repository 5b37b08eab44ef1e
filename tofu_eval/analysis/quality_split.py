"""A loss of diversity, split: what removing bad responses explains, and the rest.

After arXiv:2604.16027. A fine-tuned model may be less diverse because it no longer gives bad
responses, or because its good ones are more alike. With D the diversity of all responses and D+
that of the good ones, each a mean over the same prompts:

    total    = D(base) − D(model)
    residual = D+(base) − D+(model)
    quality  = total − residual
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.analysis import Interval, mean_interval, spread_clusters
from tofu_eval.analysis.common_counts import MadeEqual, at_common_counts
from tofu_eval.analysis.comparison import How
from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import to_columns

Column = Mapping[tuple[str, str | None], float | None]


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, each a mean over the prompts where all four values are defined.

    `dropped` counts the other prompts. `explained` is quality / total; None where total is 0.
    `made_equal` says at how many responses the values of what moves with their number were made;
    `clusters` is how many clusters of prompts the intervals are over.
    """

    total: Interval
    quality: Interval
    residual: Interval
    dropped: int
    explained: float | None
    made_equal: tuple[MadeEqual, ...] = ()
    clusters: int | None = None


def split_loss(
    scores: pa.Table,
    models: tuple[str, str],
    metrics: tuple[str, str],
    *,
    sign: int,
    smaller: pa.Table | None = None,
    how: How | None = None,
) -> Split:
    """Split the loss of diversity from one model to another.

    Args:
        scores: a table of SCORE_SCHEMA with both metrics of both models.
        models: the base and the model that may have lost diversity.
        metrics: a metric of all responses, and the same of those that pass: "vendi",
            "vendi[correct]".
        sign: 1 where higher values are more diverse, -1 where lower ones are.
        smaller: a table of EQUAL_SCHEMA, the scores at smaller numbers of responses: each of the
            two metrics is taken at the smaller number of the two models, prompt by prompt.
        how: `facts` of the metrics, `fields` and `metadata` for clusters, `responses` and
            `min_responses`.
    Returns: positive parts are losses. The parts add up exactly, prompt by prompt.
    Raises:
        DataError: there is no prompt where all four values are defined.
    """
    how = how or How()
    known = pa.array(metrics, pa.string())
    scores, made_equal = at_common_counts(
        scores.filter(pc.is_in(scores.column("metric"), known)),
        smaller,
        models,
        how.facts,
        least=how.min_responses,
        fixed=how.responses,
    )
    columns = {(m, k): _column(scores, m, k) for m in models for k in metrics}
    base, model = models
    every, good = metrics
    prompts = list(dict.fromkeys(place for column in columns.values() for place in column))
    totals, residuals, kept = [], [], []
    for place in prompts:
        values = {key: column.get(place) for key, column in columns.items()}
        if None in values.values():
            continue
        kept.append(place)
        # A value is a float from here on.
        totals.append(sign * (values[base, every] - values[model, every]))  # type: ignore[operator]
        residuals.append(sign * (values[base, good] - values[model, good]))  # type: ignore[operator]
    if not totals:
        raise DataError(
            f"No prompt has '{every}' and '{good}' of both {base} and {model}: too few responses "
            "pass. Lower the threshold, or draw more responses: --samples N"
        )
    parts = {
        "total": totals,
        "quality": [t - r for t, r in zip(totals, residuals, strict=True)],
        "residual": residuals,
    }
    clusters = _clusters_of(kept, how)
    found = {
        name: _interval(dict(zip(kept, column, strict=True)), clusters)
        for name, column in parts.items()
    }
    total, quality = found["total"].value, found["quality"].value
    explained = quality / total if total and quality is not None else None
    return Split(
        **found,
        dropped=len(prompts) - len(totals),
        explained=explained,
        made_equal=made_equal,
        clusters=len(set(clusters.values())) if clusters else None,
    )


Place = tuple[str, str | None]
"""A task and a prompt."""


def _clusters_of(places: Sequence[Place], how: How) -> dict[Place, str] | None:
    """The cluster of each prompt; of a task without clusters, the prompt itself. None where no task
    has any."""
    by_task = {task: how.clusters(task) for task in {task for task, _ in places}}
    if not any(by_task.values()):
        return None
    return {(task, id): f"{task}: {(by_task[task] or {}).get(id, id)}" for task, id in places}


def _interval(values: Mapping[Place, float], clusters: Mapping[Place, str] | None) -> Interval:
    if clusters is None:
        return mean_interval(list(values.values()))
    found = mean_interval(list(spread_clusters(values, clusters).values()))
    return replace(found, n=len(values))


def _column(scores: pa.Table, model: str, metric: str) -> Column:
    rows = scores.filter((pc.field("model") == model) & (pc.field("metric") == metric))
    tasks, prompts, values = to_columns(rows, ("task", "prompt_id", "value"))
    return dict(zip(zip(tasks, prompts, strict=True), values, strict=True))
