"""The charts: Vega-Lite specifications that the page and `tofu-eval plot` both draw.

A specification has no data. Where it depends on what is asked for, it holds a name that begins
with "$"; `drawing.filled` puts the value there, and script/charts.js does the same in the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One kind of chart.

    `by` names what must be chosen ("task", "metric", "quality"), `dataset` where its rows are
    found (`Contents.datasets`, or "scores"), `columns` the table behind it.
    """

    name: str
    title: str
    about: str
    dataset: str
    by: tuple[str, ...]
    columns: tuple[str, ...]
    spec: Spec


def _axis(title: str | None, **more: Any) -> Spec:
    return {"title": title, "labelLimit": "$label_limit", **more}


def _field(name: str, of: str = "quantitative", **more: Any) -> Spec:
    return {"field": name, "type": of, **more}


_COLOUR = _field(
    "model",
    "nominal",
    scale={"domain": "$models", "range": "$colours"},
    legend={"title": None, "orient": "top", "columns": "$legend_columns", "symbolLimit": 0},
)
_SHAPE = _field("model", "nominal", scale={"domain": "$models", "range": "$shapes"})
_METHODS = {"domain": "$methods", "range": "$method_colours"}
_METHOD = _field("method", "nominal", scale=_METHODS, legend=_COLOUR["legend"])
_METHOD_FILL = _field("method", "nominal", scale=_METHODS)
_METHOD_SHAPE = _field("method", "nominal", scale={"domain": "$methods", "range": "$method_shapes"})
_TASKS = _field("task", "nominal", sort="$tasks", axis=_axis(None))
_OFFSET = {"yOffset": {"field": "model", "sort": "$models"}}
_ZERO = {
    "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
    "encoding": {"x": {"datum": 0}, "color": {"value": "$ink"}},
    "data": {"values": [{}]},
}
_FREE = {"zero": False, "nice": True}
_POINT = {
    **{"type": "point", "opacity": 1, "strokeWidth": 2, "aria": False},
    "tooltip": {"content": "data"},
}


def _interval(low: str, high: str, value: str, title: str, filled: Any) -> list[Spec]:
    """Points with their intervals, a line a task and model."""
    place = {"y": _TASKS, **_OFFSET, "color": _COLOUR}
    x: Spec = {"scale": _FREE, "axis": _axis(title)}
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
            "encoding": {"x": _field(low, **x), "x2": {"field": high}, **place},
        },
        {
            "mark": {**_POINT, "size": 64},
            "encoding": {"x": _field(value, **x), "shape": _SHAPE, "fill": filled, **place},
        },
    ]


_FILL = _field("model", "nominal", scale=_COLOUR["scale"])
_FULL_OR_HOLLOW = {
    "condition": {"test": "datum.mark === '**'", **_FILL},
    "value": "transparent",
}

CHARTS: Mapping[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart(
            "differences",
            "Difference to the baseline",
            "The mean difference to the baseline on the same prompts, with its 95% interval. A "
            "filled mark is clear after Holm's adjustment; the dashed line is no difference. The "
            "table adds the effect size d_z and the share of prompts won.",
            "differences",
            ("metric",),
            (
                *("task", "model", "difference", "difference_low", "difference_high"),
                *("d_z", "won", "p_holm", "mark", "pairs"),
            ),
            {
                "width": "$width",
                "height": "$height",
                "layer": [
                    _ZERO,
                    *_interval(
                        *("difference_low", "difference_high", "difference"),
                        "$difference_title",
                        _FULL_OR_HOLLOW,
                    ),
                ],
            },
        ),
        Chart(
            "means",
            "Means",
            "The mean over prompts of each model on each task, with its 95% interval. Look at the "
            "differences to tell models apart: intervals that overlap may differ clearly.",
            "estimates",
            ("metric",),
            ("task", "model", "value", "low", "high", "n", "undefined"),
            {
                "width": "$width",
                "height": "$height",
                "layer": _interval("low", "high", "value", "$metric_title", _FILL),
            },
        ),
        Chart(
            "frontier",
            "Quality and diversity",
            "Each model's quality and diversity on the task, over the prompts on which all models "
            "have both, with 95% intervals; up and right is better. No model is as good as a "
            "filled one in both and better in one. A line joins the temperatures of one method.",
            "frontier",
            ("task", "metric", "quality"),
            ("of", "temperature", "x", "x_low", "x_high", "y", "y_low", "y_high", "best"),
            {
                "width": "$width",
                "height": 300,
                "layer": [
                    {
                        "mark": {"type": "line", "strokeDash": [2, 3], "aria": False},
                        "encoding": {
                            "x": _field("x"),
                            "y": _field("y"),
                            "order": _field("temperature"),
                            "detail": _field("series", "nominal"),
                            "color": {"value": "$ink"},
                        },
                    },
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
                        "encoding": {
                            "x": _field("x_low", scale={**_FREE, "reverse": "$quality_reverse"},
                                        axis=_axis("$quality_title")),
                            "x2": {"field": "x_high"},
                            "y": _field("y", scale={**_FREE, "reverse": "$reverse"},
                                        axis=_axis("$metric_title")),
                            "color": _METHOD,
                        },
                    },
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
                        "encoding": {
                            "x": _field("x"), "y": _field("y_low"), "y2": {"field": "y_high"},
                            "color": _METHOD,
                        },
                    },
                    {
                        "mark": {**_POINT, "size": 110},
                        "encoding": {
                            "x": _field("x"),
                            "y": _field("y"),
                            "color": _METHOD,
                            "shape": _METHOD_SHAPE,
                            "fill": {
                                "condition": {"test": "datum.best === 'yes'", **_METHOD_FILL},
                                "value": "transparent",
                            },
                        },
                    },
                ],
            },
        ),
        Chart(
            "rarefaction",
            "Different responses among k",
            "How many different responses a reader of k would see, on average over prompts, with "
            "95% intervals over prompts (Hurlbert 1971). A curve that flattens early repeats "
            "itself; the dotted line is no repetition at all.",
            "rarefaction",
            ("task",),
            ("model", "k", "value", "low", "high", "prompts"),
            {
                "width": "$width",
                "height": 300,
                "layer": [
                    {
                        "mark": {"type": "area", "opacity": 0.1, "aria": False},
                        "encoding": {
                            "x": _field("k", axis=_axis("k, responses to a prompt", tickMinStep=1)),
                            "y": _field("low", axis=_axis("different responses")),
                            "y2": {"field": "high"},
                            "color": _COLOUR,
                        },
                    },
                    {
                        "mark": {"type": "line", "strokeWidth": 2, "aria": False},
                        "encoding": {
                            "x": _field("k"), "y": _field("value"), "color": _COLOUR,
                        },
                    },
                    {
                        "mark": {**_POINT, "size": 30, "filled": True},
                        "encoding": {
                            "x": _field("k"), "y": _field("value"), "color": _COLOUR,
                            "shape": _SHAPE,
                        },
                    },
                    {
                        "mark": {"type": "line", "strokeDash": [2, 3], "aria": False},
                        "encoding": {
                            "x": _field("k"),
                            "y": _field("k", scale={"domain": [0, "$top"], "clamp": True}),
                            "color": {"value": "$ink"},
                        },
                        "transform": [{"filter": {"field": "k", "lte": "$top"}}],
                    },
                ],
            },
        ),
        Chart(
            "prompts",
            "Prompt by prompt",
            "The difference to the baseline on each prompt, from the least to the greatest: is it "
            "everywhere, or on a few prompts? On the page, a point leads to its responses.",
            "scores",
            ("task", "metric"),
            ("model", "prompt_id", "baseline", "value", "difference"),
            {
                "width": "$width",
                "height": 260,
                "layer": [
                    {
                        "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
                        "encoding": {"y": {"datum": 0}, "color": {"value": "$ink"}},
                        "data": {"values": [{}]},
                    },
                    {
                        "mark": {**_POINT, "size": 36, "filled": True, "cursor": "pointer"},
                        "encoding": {
                            "x": _field("rank", scale={"nice": False},
                                        axis=_axis("prompts, in order of their difference",
                                                   tickMinStep=1)),
                            "y": _field("difference", axis=_axis("$difference_title")),
                            "color": _COLOUR,
                            "shape": _SHAPE,
                        },
                    },
                ],
            },
        ),
        Chart(
            "lengths",
            "Lengths of the responses",
            "The share of responses by length in characters, in bins of equal width; the last one, "
            "which has no end in the table, is all that is longer. Length moves most diversity "
            "metrics.",
            "lengths",
            ("task",),
            ("model", "start", "end", "share"),
            {
                "width": "$width",
                "height": 240,
                "mark": {
                    "type": "line", "interpolate": "step-after", "strokeWidth": 2, "aria": False
                },
                "encoding": {
                    "x": _field("start", axis=_axis("characters")),
                    "y": _field("share", axis=_axis("share of responses", format="%")),
                    "color": _COLOUR,
                    "strokeDash": _field(
                        "model", "nominal", scale={"domain": "$models", "range": "$dashes"}
                    ),
                },
            },
        ),
    )
}  # fmt: skip
"""Every chart by the name that `tofu-eval plot --plot` takes."""
