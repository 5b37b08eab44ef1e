"""The charts: Vega-Lite specifications that the page and `tofu-eval plot` both draw.

A specification is made once for a report, by plain Python, and is whole but for its data, its width
and the theme, which are fields of it. It has no names that someone has to fill in.
"""

from __future__ import annotations

from dataclasses import replace

from tofu_eval.report.look import FREE, POINT, Chart, Look, Spec, axis, field, reference

OF_PEOPLE = "The grey band is where answers of people stand, with their mean as a line."

_DRAWN = {"aria": False}
_DEVIATIONS = "standard deviations of the paired differences: wider, or better →"


def make_charts(look: Look) -> dict[str, Chart]:
    """Every chart by the name that `tofu-eval plot --plot` takes."""
    makers = (
        *(_forest, _differences, _means, _frontier, _rarefaction),
        *(_prompts, _steps, _lengths),
    )
    charts = [make(look) for make in makers]
    if look.people:
        charts = [
            replace(chart, about=f"{chart.about} {OF_PEOPLE}")
            if chart.name in ("means", "frontier", "prompts")
            else chart
            for chart in charts
        ]
    return {chart.name: chart for chart in charts}


def _clear(look: Look) -> Spec:
    """Filled where a difference is clear."""
    filled = {"test": "datum.mark === '**'", **look.colour()}
    return {"condition": filled, "value": "transparent"}


def _forest(look: Look) -> Chart:
    return Chart(
        "forest",
        "All metrics",
        "The standardised difference to the baseline on the same prompts, with its 95% interval, "
        "a metric a line; right is wider, or of a quality better. A filled mark is clear after "
        "the adjustment; the dashed line is no difference.",
        "forest",
        ("task",),
        ("label", "model", "effect", "effect_low", "effect_high", "p_adjusted", "mark", "pairs"),
        {},
        {
            "encoding": {
                "x": {
                    "scale": {"type": "symlog", "constant": 1, "nice": True},
                    "axis": axis(_DEVIATIONS),
                }
            },
            "layer": [
                reference("x"),
                *look.intervals(
                    *("effect_low", "effect_high", "effect", _clear(look)),
                    field("label", "nominal", sort=None, axis=axis(None, labelLimit=320)),
                ),
            ],
        },
    )


def _differences(look: Look) -> Chart:
    return Chart(
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
            "encoding": {"x": {"scale": FREE, "axis": axis(None)}},
            "layer": [
                reference("x"),
                *look.intervals("difference_low", "difference_high", "difference", _clear(look)),
            ],
        },
    )


def _means(look: Look) -> Chart:
    return Chart(
        "means",
        "Means",
        "The mean over prompts of each model on each task, with its 95% interval. Look at the "
        "differences to tell models apart: intervals that overlap may differ clearly.",
        "estimates",
        ("metric",),
        ("task", "model", "value", "low", "high", "n", "undefined"),
        {"x": "metric"},
        {
            "encoding": {"x": {"scale": FREE, "axis": axis(None)}},
            "layer": [
                *look.people_line("x", y=field("task", "nominal", sort=look.tasks)),
                *look.intervals("low", "high", "value", look.colour()),
            ],
        },
    )


def _frontier(look: Look) -> Chart:
    best = {
        "condition": {"test": "datum.best === 'yes'", **look.colour("method")},
        "value": "transparent",
    }
    place = {"x": field("x"), "y": field("y")}
    colour = {"color": look.legend("method")}
    line = {"type": "line", "strokeDash": [2, 3], "style": "reference", **_DRAWN}
    rule = {"type": "rule", "strokeWidth": 1.5, **_DRAWN}
    series = {"order": field("temperature"), "detail": field("series", "nominal")}
    return Chart(
        "frontier",
        "Quality and diversity",
        "Each model's quality and diversity on the task, over the prompts on which all models "
        "have both, with 95% intervals; up and right is better. No model is as good as a "
        "filled one in both and better in one. A line joins the temperatures (T) of one method.",
        "frontier",
        ("task", "metric", "quality"),
        ("of", "temperature", "x", "x_low", "x_high", "y", "y_low", "y_high", "best", "prompts"),
        {"x": "quality", "y": "metric"},
        {
            "height": 300,
            "encoding": {channel: {"scale": FREE, "axis": axis(None)} for channel in ("x", "y")},
            "layer": [
                *look.people_line("y"),
                {"mark": line, "encoding": {**place, **series}},
                {
                    "mark": rule,
                    "encoding": {**place, "x": field("x_low"), "x2": {"field": "x_high"}, **colour},
                },
                {
                    "mark": rule,
                    "encoding": {**place, "y": field("y_low"), "y2": {"field": "y_high"}, **colour},
                },
                {
                    "mark": {**POINT, "size": 110},
                    "encoding": {**place, **colour, "shape": look.shape("method"), "fill": best},
                },
                _temperatures(place),
            ],
        },
    )


def _temperatures(place: Spec) -> Spec:
    """`T 0.7` beside each point whose temperature is known."""
    return {
        "transform": [
            {
                "calculate": "isValid(datum.temperature) ? 'T ' + datum.temperature : ''",
                "as": "told",
            }
        ],
        "mark": {
            **{"type": "text", "align": "left", "dx": 8, "dy": -8, "fontSize": 11},
            **{"style": "note", **_DRAWN},
        },
        "encoding": {**place, "text": field("told", "nominal")},
    }


def _rarefaction(look: Look) -> Chart:
    area = {"type": "area", "opacity": 0.1, **_DRAWN}
    dotted = {"type": "line", "strokeDash": [2, 3], "style": "reference", **_DRAWN}
    return Chart(
        "rarefaction",
        "Different responses among k",
        "How many different responses a reader of k would see, on average over prompts, with "
        "95% intervals over prompts (Hurlbert 1971); higher is wider. A curve that flattens "
        "early repeats itself; the dotted line is no repetition at all.",
        "rarefaction",
        ("task",),
        ("model", "k", "value", "low", "high", "prompts"),
        {},
        {
            "height": 300,
            "encoding": {
                "x": field("k", axis=axis("k, responses to a prompt", tickMinStep=1)),
                "y": {"axis": axis("different responses, wider ↑")},
            },
            "layer": [
                {
                    "mark": area,
                    "encoding": {
                        **{"y": field("low"), "y2": {"field": "high"}},
                        "color": look.legend(),
                    },
                },
                {
                    "mark": {"type": "line", "strokeWidth": 2, **_DRAWN},
                    "encoding": {"y": field("value"), "color": look.legend()},
                },
                {
                    "mark": {**POINT, "size": 50},
                    "encoding": {
                        **{"y": field("value"), "color": look.legend(), "shape": look.shape()},
                    },
                },
                {
                    "mark": dotted,
                    "encoding": {"y": field("k")},
                    "transform": [
                        {"joinaggregate": [{"op": "max", "field": "value", "as": "top"}]},
                        {"filter": "datum.k <= 1.05 * datum.top"},
                    ],
                },
            ],
        },
    )


def _prompts(look: Look) -> Chart:
    place = {
        "y": field("label", "nominal", sort=None, axis=axis(None, labelLimit=320)),
        "yOffset": {"field": "model", "sort": look.models},
        "color": look.legend(),
    }
    stem = {"type": "rule", "strokeWidth": 1.5, **_DRAWN}
    return Chart(
        "prompts",
        "Prompt by prompt",
        "The difference to the baseline on the prompts where it is largest, the narrowest first: "
        "is it everywhere, or on a few? The table has all prompts. On the page, a point leads to "
        "its responses.",
        "scores",
        ("task", "metric"),
        ("model", "prompt_id", "baseline", "value", "difference"),
        {"x": "difference"},
        {
            "encoding": {"x": {"scale": {**FREE, "zero": True}, "axis": axis(None)}},
            "layer": [
                reference("x"),
                *look.people_line("x"),
                {
                    "mark": stem,
                    "encoding": {"x": field("difference"), "x2": {"datum": 0}, **place},
                },
                {
                    "mark": {**POINT, "size": 44, "filled": True, "cursor": "pointer"},
                    "encoding": {"x": field("difference"), "shape": look.shape(), **place},
                },
            ],
        },
        lines=36,
    )


def _steps(look: Look) -> Chart:
    colour = {"color": field("task", "nominal", legend={"title": None, "orient": "top"})}
    return Chart(
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
                "x": field("step", axis=axis("optimiser steps", tickMinStep=1)),
                "y": {"scale": FREE, "axis": axis(None)},
            },
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 1.5, **_DRAWN},
                    "encoding": {"y": field("low"), "y2": {"field": "high"}, **colour},
                },
                {
                    "mark": {"type": "line", "strokeWidth": 2, **_DRAWN},
                    "encoding": {"y": field("value"), **colour},
                },
                {
                    "mark": {**POINT, "size": 30, "filled": True},
                    "encoding": {"y": field("value"), **colour},
                },
            ],
        },
    )


def _lengths(look: Look) -> Chart:
    return Chart(
        "lengths",
        "Lengths of the responses",
        "The share of responses by length in characters, in bins of equal width, or where a few "
        "are much longer than most, of equal ratio on a logarithmic axis; the last one, which "
        "has no end in the table, is all that is longer. Length moves most diversity metrics.",
        "lengths",
        ("task",),
        ("model", "start", "end", "share"),
        {},
        {
            "height": 240,
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2, **_DRAWN},
            "encoding": {
                "x": field("start", scale={"type": "linear"}, axis=axis("characters")),
                "y": field("share", axis=axis("share of responses", format="%")),
                "color": look.legend(),
                "strokeDash": look.dash(),
            },
        },
    )


CHARTS = tuple(make_charts(Look((), (), (), "")))
"""The names of all charts."""
