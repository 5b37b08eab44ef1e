"""A loss of diversity, split: what removing bad responses explains, and the rest.

After arXiv:2604.16027. A fine-tuned model may be less diverse because it no longer gives bad
responses, or because its good ones are more alike. With D the diversity of all responses and D+
that of the good ones, each a mean over the same prompts:

    total    = D(base) − D(model)
    residual = D+(base) − D+(model)
    quality  = total − residual
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from tofu_eval.analysis import Interval, mean_interval
from tofu_eval.core.errors import DataError

Column = Mapping[tuple[str, str | None], float | None]


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts, each a mean over the prompts where all four values are defined.

    `dropped` counts the other prompts. `explained` is quality / total; None where total is 0.
    """

    total: Interval
    quality: Interval
    residual: Interval
    dropped: int
    explained: float | None


def split_loss(
    scores: pa.Table, models: tuple[str, str], metrics: tuple[str, str], *, sign: int, seed: int
) -> Split:
    """Split the loss of diversity from one model to another.

    Args:
        scores: a table of SCORE_SCHEMA with both metrics of both models.
        models: the base and the model that may have lost diversity.
        metrics: a metric of all responses, and the same of those that pass: "vendi",
            "vendi[correct]".
        sign: 1 where higher values are more diverse, -1 where lower ones are.
        seed: decides the resamples of the intervals.
    Returns: positive parts are losses. The parts add up exactly, prompt by prompt.
    Raises:
        DataError: there is no prompt where all four values are defined.
    """
    columns = {(m, k): _column(scores, m, k) for m in models for k in metrics}
    base, model = models
    every, good = metrics
    prompts = list(dict.fromkeys(place for column in columns.values() for place in column))
    totals, residuals = [], []
    for place in prompts:
        values = {key: column.get(place) for key, column in columns.items()}
        if None in values.values():
            continue
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
    found = {name: mean_interval(column) for name, column in parts.items()}
    total, quality = found["total"].value, found["quality"].value
    explained = quality / total if total and quality is not None else None
    return Split(**found, dropped=len(prompts) - len(totals), explained=explained)


def _column(scores: pa.Table, model: str, metric: str) -> Column:
    return {
        (row["task"], row["prompt_id"]): row["value"]
        for row in scores.to_pylist()
        if row["model"] == model and row["metric"] == metric
    }
