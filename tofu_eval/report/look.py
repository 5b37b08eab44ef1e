"""What all charts of a report have in common: what a chart is, its colours, shapes and axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tofu_eval.report.themes import DASHES, SHAPES

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One kind of chart.

    `by` names what must be chosen ("task", "metric", "quality"), `dataset` where its rows are
    found (`Contents.datasets`, or "scores"), `columns` the table behind it. `axes` says which
    choice names an axis: the "metric", the "quality", or the "difference" of the metric. Without a
    height in its `spec` it has a line a label (or task) and model, LINE pixels each. `lines` is how
    many of these are drawn at most: those that changed most; the table behind it has all.
    """

    name: str
    title: str
    about: str
    dataset: str
    by: tuple[str, ...]
    columns: tuple[str, ...]
    axes: Mapping[str, str]
    spec: Spec
    lines: int | None = None


def axis(title: str | None, **more: Any) -> Spec:
    """An axis with its title; None where what is chosen names it."""
    return {"title": title, **more}


def field(name: str, of: str = "quantitative", **more: Any) -> Spec:
    """What a channel shows: a field of the data."""
    return {"field": name, "type": of, **more}


LINE = 15
"""Pixels of one model's interval, where each has a line."""

FREE = {"zero": False, "nice": True, "reverse": False}
"""A scale that what is chosen turns, so that right (and up) is always wider or better: see
`drawing.specification`."""

POINT = {
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
        return field(channel, "nominal", scale={"domain": self._domain(channel)}, **more)

    def legend(self, channel: str = "model") -> Spec:
        """The colour, with the chart's legend."""
        style = {"title": None, "orient": "top", "symbolLimit": 0}
        return self.colour(channel, legend=style)

    def shape(self, channel: str = "model") -> Spec:
        """A shape a model (or a method)."""
        domain = self._domain(channel)
        return field(channel, "nominal", scale={"domain": domain, "range": cycle(SHAPES, domain)})

    def dash(self) -> Spec:
        """A dash a model."""
        scale = {"domain": self.models, "range": cycle(DASHES, self.models)}
        return field("model", "nominal", scale=scale)

    def intervals(
        self, low: str, high: str, value: str, filled: Any, y: Spec | None = None
    ) -> list[Spec]:
        """Points with their intervals, a line a task (or another `y`) and model."""
        place = {
            "y": y or field("task", "nominal", sort=self.tasks, axis=axis(None)),
            "yOffset": {"field": "model", "sort": self.models},
            "color": self.legend(),
        }
        return [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                "encoding": {"x": field(low), "x2": {"field": high}, **place},
            },
            {
                "mark": {**POINT, "size": 64},
                "encoding": {
                    "x": field(value),
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
        sides = {channel: field("human_low"), f"{channel}2": {"field": "human_high"}}
        line = {channel: field("human")}
        if place:
            line[f"{channel}2"] = {"field": "human"}
        return [
            {**shown, "mark": band, "encoding": {**sides, **place, **tip}},
            {**shown, "mark": rule, "encoding": {**line, **place, **tip}},
        ]

    def _domain(self, channel: str) -> Sequence[str]:
        return self.models if channel == "model" else self.methods


def cycle(values: Sequence[Any], domain: Sequence[str]) -> list[Any]:
    """One of the values for each of the domain, again from the first."""
    return [values[i % len(values)] for i in range(len(domain))]


def reference(channel: str) -> Spec:
    """A dashed line at no difference."""
    return {
        "mark": {"type": "rule", "strokeDash": [4, 3], "style": "reference", "aria": False},
        "encoding": {channel: {"datum": 0}},
        "data": {"values": [{}]},
    }
