"""The charts: Vega-Lite specifications that the page and `tofu-eval plot` both draw.

A specification is made once for a report, by plain Python, and is whole but for its data, its width
and the theme, which are fields of it. It has no names that someone has to fill in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tofu_eval.report.themes import DASHES, SHAPES

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One kind of chart.

    `by` names what must be chosen ("task", "metric", "quality"), `dataset` where its rows are
    found (`Contents.datasets`, or "scores"), `columns` the table behind it. `axes` says which
    choice names an axis: the "metric", the "quality", or the "difference" of the metric. Without a
    height in its `spec` it has a line a task and model, LINE pixels each.
    """

    name: str
    title: str
    about: str
    dataset: str
    by: tuple[str, ...]
    columns: tuple[str, ...]
    axes: Mapping[str, str]
    spec: Spec


def _axis(title: str | None, **more: Any) -> Spec:
    return {"title": title, **more}


def _field(name: str, of: str = "quantitative", **more: Any) -> Spec:
    return {"field": name, "type": of, **more}


LINE = 15
"""Pixels of one model's interval, where each has a line."""

_FREE = {"zero": False, "nice": True}
_POINT = {
    **{"type": "point", "opacity": 1, "strokeWidth": 2, "aria": False},
    "tooltip": {"content": "data"},
}


@dataclass(frozen=True)
class Look:
    """What all charts of a report have in common: the domains that colours and shapes stand for."""

    models: Sequence[str]
    tasks: Sequence[str]
    methods: Sequence[str]
    baseline: str
    people: bool = False

    def colour(self, channel: str = "model", **more: Any) -> Spec:
        """A colour a model (or a method), the same in every chart; the theme has the colours."""
        return _field(channel, "nominal", scale={"domain": self._domain(channel)}, **more)

    def legend(self, channel: str = "model") -> Spec:
        """The colour, with the chart's legend."""
        style = {"title": None, "orient": "top", "symbolLimit": 0}
        return self.colour(channel, legend=style)

    def shape(self, channel: str = "model") -> Spec:
        """A shape a model (or a method)."""
        domain = self._domain(channel)
        return _field(channel, "nominal", scale={"domain": domain, "range": _cycle(SHAPES, domain)})

    def dash(self) -> Spec:
        """A dash a model."""
        scale = {"domain": self.models, "range": _cycle(DASHES, self.models)}
        return _field("model", "nominal", scale=scale)

    def intervals(self, low: str, high: str, value: str, filled: Any) -> list[Spec]:
        """Points with their intervals, a line a task and model."""
        place = {
            "y": _field("task", "nominal", sort=self.tasks, axis=_axis(None)),
            "yOffset": {"field": "model", "sort": self.models},
            "color": self.legend(),
        }
        x: Spec = {"scale": _FREE}
        return [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                "encoding": {"x": _field(low, **x), "x2": {"field": high}, **place},
            },
            {
                "mark": {**_POINT, "size": 64},
                "encoding": {
                    "x": _field(value, **x),
                    "shape": self.shape(),
                    "fill": filled,
                    **place,
                },
            },
        ]

    def people_line(self, channel: str, **place: Any) -> list[Spec]:
        """Where people stand, with their interval behind it; nothing where there are none."""
        if not self.people:
            return []
        shown: Spec = {"transform": [{"filter": "isValid(datum.human)"}]}
        once = [
            {
                "aggregate": [
                    {"op": "min", "field": name, "as": name}
                    for name in ("human", "human_low", "human_high")
                ],
                "groupby": [spec["field"] for spec in place.values()],
            }
        ]
        shown["transform"] += once
        tip = {"tooltip": {"value": "people, with their 95% interval"}}
        band = {"type": "rect", "opacity": 0.13, "style": "people", "aria": False}
        rule = {"type": "rule", "strokeWidth": 2, "style": "people", "aria": False}
        if place:  # a mark as high as its task's lines
            rule = {"type": "bar", "strokeWidth": 2, "style": "people", "aria": False}
        sides = {channel: _field("human_low"), f"{channel}2": {"field": "human_high"}}
        line = {channel: _field("human")}
        if place:
            line[f"{channel}2"] = {"field": "human"}
        return [
            {**shown, "mark": band, "encoding": {**sides, **place, **tip}},
            {**shown, "mark": rule, "encoding": {**line, **place, **tip}},
        ]

    def _domain(self, channel: str) -> Sequence[str]:
        return self.models if channel == "model" else self.methods


def _cycle(values: Sequence[Any], domain: Sequence[str]) -> list[Any]:
    return [values[i % len(values)] for i in range(len(domain))]


def _reference(channel: str) -> Spec:
    """A dashed line at no difference."""
    return {
        "mark": {"type": "rule", "strokeDash": [4, 3], "style": "reference", "aria": False},
        "encoding": {channel: {"datum": 0}},
        "data": {"values": [{}]},
    }


OF_PEOPLE = "The grey band is where answers of people stand, with their mean as a line."


def make_charts(look: Look) -> dict[str, Chart]:
    """Every chart by the name that `tofu-eval plot --plot` takes."""
    clear = {"condition": {"test": "datum.mark === '**'", **look.colour()}, "value": "transparent"}
    best = {
        "condition": {"test": "datum.best === 'yes'", **look.colour("method")},
        "value": "transparent",
    }
    charts: tuple[Chart, ...] = (
        Chart(
            "differences",
            "Difference to the baseline",
            "The mean difference to the baseline on the same prompts, with its 95% interval. A "
            "filled mark is clear after the adjustment; the dashed line is no difference. The "
            "table adds the effect size d_z and the share of prompts won.",
            "differences",
            ("metric",),
            (
                *("task", "model", "difference", "difference_low", "difference_high"),
                *("d_z", "won", "p_adjusted", "mark", "pairs"),
            ),
            {"x": "difference"},
            {
                "encoding": {"x": {"axis": _axis(None)}},
                "layer": [
                    _reference("x"),
                    *look.intervals(
                        *("difference_low", "difference_high", "difference"),
                        clear,
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
            {"x": "metric"},
            {
                "encoding": {"x": {"axis": _axis(None)}},
                "layer": [
                    *look.people_line("x", y=_field("task", "nominal", sort=look.tasks)),
                    *look.intervals("low", "high", "value", look.colour()),
                ],
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
            {"x": "quality", "y": "metric"},
            {
                "height": 300,
                # What is chosen turns and names these two: see `drawing.specification`.
                "encoding": {
                    channel: {"scale": {**_FREE, "reverse": False}, "axis": _axis(None)}
                    for channel in ("x", "y")
                },
                "layer": [
                    *look.people_line("y"),
                    {
                        "mark": {
                            "type": "line",
                            "strokeDash": [2, 3],
                            "style": "reference",
                            "aria": False,
                        },
                        "encoding": {
                            "x": _field("x"),
                            "y": _field("y"),
                            "order": _field("temperature"),
                            "detail": _field("series", "nominal"),
                        },
                    },
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
                        "encoding": {
                            "x": _field("x_low"),
                            "x2": {"field": "x_high"},
                            "y": _field("y"),
                            "color": look.legend("method"),
                        },
                    },
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
                        "encoding": {
                            "x": _field("x"),
                            "y": _field("y_low"),
                            "y2": {"field": "y_high"},
                            "color": look.legend("method"),
                        },
                    },
                    {
                        "mark": {**_POINT, "size": 110},
                        "encoding": {
                            "x": _field("x"),
                            "y": _field("y"),
                            "color": look.legend("method"),
                            "shape": look.shape("method"),
                            "fill": best,
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
            {},
            {
                "height": 300,
                "layer": [
                    {
                        "mark": {"type": "area", "opacity": 0.1, "aria": False},
                        "encoding": {
                            "x": _field("k", axis=_axis("k, responses to a prompt", tickMinStep=1)),
                            "y": _field("low", axis=_axis("different responses")),
                            "y2": {"field": "high"},
                            "color": look.legend(),
                        },
                    },
                    {
                        "mark": {"type": "line", "strokeWidth": 2, "aria": False},
                        "encoding": {
                            "x": _field("k"),
                            "y": _field("value"),
                            "color": look.legend(),
                        },
                    },
                    {
                        "mark": {**_POINT, "size": 30, "filled": True},
                        "encoding": {
                            "x": _field("k"),
                            "y": _field("value"),
                            "color": look.legend(),
                            "shape": look.shape(),
                        },
                    },
                    {
                        "mark": {
                            "type": "line",
                            "strokeDash": [2, 3],
                            "style": "reference",
                            "aria": False,
                        },
                        "encoding": {
                            "x": _field("k"),
                            "y": _field("k"),
                        },
                        "transform": [
                            {"joinaggregate": [{"op": "max", "field": "value", "as": "top"}]},
                            {"filter": "datum.k <= 1.05 * datum.top"},
                        ],
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
            {"y": "difference"},
            {
                "encoding": {"y": {"axis": _axis(None)}},
                "height": 260,
                "layer": [
                    _reference("y"),
                    *look.people_line("y"),
                    {
                        "mark": {**_POINT, "size": 36, "filled": True, "cursor": "pointer"},
                        "encoding": {
                            "x": _field(
                                "rank",
                                scale={"nice": False},
                                axis=_axis("prompts, in order of their difference", tickMinStep=1),
                            ),
                            "y": _field("difference"),
                            "color": look.legend(),
                            "shape": look.shape(),
                        },
                    },
                ],
            },
        ),
        Chart(
            "steps",
            "Diversity while it trained",
            "The mean over prompts at each step at which the training was watched, with its 95% "
            "interval; a line a task.",
            "steps",
            ("metric",),
            ("task", "step", "value", "low", "high"),
            {"y": "metric"},
            {
                "height": 260,
                "encoding": {
                    "x": _field("step", axis=_axis("optimiser steps", tickMinStep=1)),
                    "y": {"scale": _FREE, "axis": _axis(None)},
                },
                "layer": [
                    {
                        "mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
                        "encoding": {
                            "y": _field("low"),
                            "y2": {"field": "high"},
                            "color": _field("task", "nominal"),
                        },
                    },
                    {
                        "mark": {"type": "line", "strokeWidth": 2, "aria": False},
                        "encoding": {
                            "y": _field("value"),
                            "color": _field(
                                *("task", "nominal"), legend={"title": None, "orient": "top"}
                            ),
                        },
                    },
                    {
                        "mark": {**_POINT, "size": 30, "filled": True},
                        "encoding": {"y": _field("value"), "color": _field("task", "nominal")},
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
            {},
            {
                "height": 240,
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "strokeWidth": 2,
                    "aria": False,
                },
                "encoding": {
                    "x": _field("start", axis=_axis("characters")),
                    "y": _field("share", axis=_axis("share of responses", format="%")),
                    "color": look.legend(),
                    "strokeDash": look.dash(),
                },
            },
        ),
    )
    if look.people:
        charts = tuple(
            replace(chart, about=f"{chart.about} {OF_PEOPLE}")
            if chart.name in ("means", "frontier", "prompts")
            else chart
            for chart in charts
        )
    return {chart.name: chart for chart in charts}


CHARTS = tuple(make_charts(Look((), (), (), "")))
"""The names of all charts."""
