"""Estimates: from the scores of prompts to a number with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tofu_eval.analysis import mean_intervals, method_of, within
from tofu_eval.core.tables import to_columns
from tofu_eval.core.types import Estimate
from tofu_eval.metrics import Metric


def estimate(
    scores: pa.Table,
    metrics: Sequence[Metric],
    features: Mapping[str, str],
    *,
    truncate: int | None = None,
    reading: Sequence[str] = (),
) -> list[Estimate]:
    """Mean over prompts with its 95% interval, for every model, task and metric.

    All metrics of a model and task are one table, whose intervals are made at once.

    Args:
        scores: a table of SCORE_SCHEMA.
        metrics: at least those of the table.
        features: signature of each feature's model.
        truncate: words that the texts were cut to, for the signature.
        reading: which responses were read how, for the signature.
    """
    by_name = {metric.name: metric for metric in metrics}
    estimates = []
    for (model, task), columns in _by_place(scores).items():
        longest = max(map(len, columns.values()))
        table = np.full((len(columns), longest), np.nan)
        for row, column in enumerate(columns.values()):
            # Sorted, so that the order of the prompts changes no digit.
            table[row, : len(column)] = np.sort(np.array(column, dtype=np.float64))
        intervals = mean_intervals(table)
        for row, (name, column) in enumerate(columns.items()):
            scorer = by_name[name]
            signature = scorer.signature(features, truncate, reading)
            interval = within(intervals[row], scorer.range)
            estimates.append(
                Estimate(
                    model=model,
                    task=task,
                    metric=name,
                    value=interval.value,
                    low=interval.low,
                    high=interval.high,
                    n=interval.n,
                    undefined=len(column) - interval.n,
                    method=method_of(interval, level=scorer.level, bias=scorer.bias),
                    signature=signature,
                )
            )
    return estimates


def _by_place(scores: pa.Table) -> dict[tuple[str, str], dict[str, list[float | None]]]:
    """The values of each model and task by metric; of a corpus, those of its blocks if any."""
    by_place: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    whole: dict[tuple[str, str], dict[str, float | None]] = {}
    columns = to_columns(scores, ("model", "task", "metric", "prompt_id", "value"))
    for model, task, metric, prompt, value in zip(*columns, strict=True):
        values = by_place.setdefault((model, task), {}).setdefault(metric, [])
        if prompt is None:
            whole.setdefault((model, task), {})[metric] = value
        else:
            values.append(value)
    for place, ones in whole.items():
        for metric, value in ones.items():
            if not by_place[place][metric]:
                by_place[place][metric] = [value]
    return by_place
