"""Each model's quality beside its diversity, as the records that a chart draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from tofu_eval.analysis.compare_run import how_of
from tofu_eval.analysis.comparison import Comparison, Row
from tofu_eval.analysis.direction import has_direction, sign_of_direction
from tofu_eval.analysis.frontier import Frontier, Point, frontier_points
from tofu_eval.core.errors import DataError
from tofu_eval.run.store import Run

Record = dict[str, Any]


def columns_of(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    """The models of each column of a comparison: one, or a series' seeds; the baseline's first."""
    names = sorted(comparison.models, key=lambda name: name != comparison.baseline)
    return {name: comparison.seeds.get(name, (name,)) for name in names}


def frontier_records(
    run: Run,
    scores: pa.Table,
    comparison: Comparison,
    beyond: Iterable[Frontier],
    how: Mapping[str, Any],
) -> Iterable[Record]:
    """Each model's quality beside its diversity; `best` where no model is ahead in both."""
    wider = {(f.quality_metric, f.diversity_metric): f for f in beyond}
    facts = run.manifest.get("metrics", {})
    by_task: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if has_direction(row.direction) and facts[row.metric].get("level") != "corpus":
            by_task.setdefault(row.task, []).append(row)
    for rows in by_task.values():
        for quality in (row for row in rows if row.measures == "quality"):
            for diversity in (row for row in rows if row.measures == "diversity"):
                if found := wider.get((quality.metric, diversity.metric)):
                    for point in found.curves:
                        yield _record(point, (quality, diversity), None, found.prompts)
                else:
                    yield from _points(run, scores, comparison, (quality, diversity), how)


def _points(
    run: Run,
    scores: pa.Table,
    comparison: Comparison,
    pair: tuple[Row, Row],
    how: Mapping[str, Any],
) -> Iterable[Record]:
    quality, diversity = pair
    column = {model: name for name, models in columns_of(comparison).items() for model in models}
    try:
        points, prompts = frontier_points(
            scores,
            run.manifest,
            task=quality.task,
            quality=quality.metric,
            diversity=diversity.metric,
            seed=run.manifest["settings"]["seed"],
            smaller=run.equal_scores(),
            how=how_of(run, [quality.task], **how),
        )
    except DataError:  # no prompt has both of every model: the page says that nothing is there
        return
    for point in points:
        yield _record(point, pair, column[point.model], prompts)


def _record(point: Point, pair: tuple[Row, Row], model: str | None, prompts: int) -> Record:
    """A point of a chart; without a column of its own it stands under its method."""
    quality, diversity = pair
    x, y = (
        _as_measured(point, name, sign_of_direction(row.direction))
        for name, row in zip(("quality", "diversity"), pair, strict=True)
    )
    return {
        "task": quality.task,
        "quality": quality.metric,
        "metric": diversity.metric,
        "model": model or point.series,
        "of": point.model,
        "method": point.series,
        "series": point.series if point.seed is None else f"{point.series} {point.seed}",
        "temperature": point.temperature,
        **dict(zip(("x", "x_low", "x_high"), x, strict=True)),
        **dict(zip(("y", "y_low", "y_high"), y, strict=True)),
        "best": "yes" if point.efficient else "no",
        "prompts": prompts,
    }


def _as_measured(point: Any, name: str, sign: int) -> list[float | None]:
    """Value, low and high in the metric's own direction; `frontier` turns those that fall."""
    ends = [getattr(point, f"{name}_low"), getattr(point, f"{name}_high")]
    values = [getattr(point, name), *(ends if sign > 0 else reversed(ends))]
    return [None if value is None else sign * value for value in values]
