"""A chart with the data of a run, in the page and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.analysis.direction import arrow_of
from tofu_eval.analysis.verdict import in_leading_order
from tofu_eval.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from tofu_eval.report.charts import CHARTS, Chart, Spec
from tofu_eval.report.contents import Contents, Record
from tofu_eval.report.themes import SHAPES, THEMES

FORMATS = ("svg", "png", "pdf")
VERSION = "6.4"
"""Of Vega-Lite."""

WIDTH = 480
"""Of a drawn plot without its axes, in pixels."""

LINE = 15
"""Of one model's interval, where each has a line."""

PIXELS = 3.0
"""Dots of a PNG a pixel: 288 an inch."""


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a specification with its "$" names replaced, wherever they stand alone."""
    if isinstance(template, str):
        return values.get(template, template)
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, values) for value in template]
    return template


def rows(contents: Contents, chart: Chart, choice: Mapping[str, str]) -> list[Record]:
    """The data of a chart for what was chosen."""
    if chart.dataset == "scores":
        return _differences(contents, choice["task"], choice["metric"])
    name = "estimates" if chart.dataset == "differences" else chart.dataset
    found = [
        row for row in contents.datasets[name] if all(row[key] == choice[key] for key in chart.by)
    ]
    if chart.dataset == "differences":
        return [row for row in found if row["difference"] is not None]
    return found


def settings(
    contents: Contents, data: Sequence[Record], choice: Mapping[str, str], theme: str
) -> dict[str, Any]:
    """What stands for the "$" names."""
    models = contents.models
    metric, quality = choice.get("metric", ""), choice.get("quality", "")
    top = max((row["value"] or 0 for row in data if "k" in row), default=0) * 1.05
    kept = [model for model in models if any(row["model"] == model for row in data)]
    look = {model: i for i, model in enumerate(models)}
    methods = list(dict.fromkeys(row["method"] for row in data if "method" in row))
    return {
        "$width": WIDTH,
        "$height": height(data),
        "$label_limit": 200,
        "$legend_columns": 4,
        "$models": kept,
        "$tasks": contents.tasks,
        **{
            name: [cycled(cycle, look[model]) for model in kept]
            for name, cycle in {"$colours": THEMES[theme]["colours"], **SHAPES}.items()
        },
        "$methods": methods,
        "$method_colours": [cycled(THEMES[theme]["colours"], i) for i in range(len(methods))],
        "$method_shapes": [cycled(SHAPES["$shapes"], i) for i in range(len(methods))],
        "$ink": THEMES[theme]["ink"],
        "$metric_title": titled(contents, metric),
        "$quality_title": titled(contents, quality),
        "$difference_title": f"{metric} minus {contents.comparison.baseline}",
        "$reverse": contents.metrics.get(metric, {}).get("direction") == "lower",
        "$quality_reverse": contents.metrics.get(quality, {}).get("direction") == "lower",
        "$top": top,
    }


def cycled(cycle: Sequence[str], number: int) -> str:
    """The colour or shape of a number, from the beginning again when all are used."""
    return cycle[number % len(cycle)]


def height(data: Sequence[Record]) -> int:
    """Pixels for a line a task and model."""
    return max(60, LINE * len({(row.get("task"), row["model"]) for row in data}))


def titled(contents: Contents, metric: str) -> str:
    """A metric's name for an axis, with what its direction means."""
    fact = contents.metrics.get(metric, {"direction": "none", "measures": ""})
    more = "better" if fact["measures"] == "quality" else "more diverse"
    arrow = arrow_of(fact["direction"])
    return f"{metric} ({arrow} {more})" if arrow else metric


def choose(contents: Contents, chart: Chart, choice: Mapping[str, str | None]) -> dict[str, str]:
    """What a chart is drawn for: what was asked for, else the first that the run has.

    Raises:
        UnknownNameError: the run has no such task or metric, or no values of it to draw.
        ConfigError: the run has no metric of quality, and the chart needs one; or the chart
            does not depend on what was chosen.
    """
    for key, asked in choice.items():
        if asked is not None and key not in chart.by:
            raise ConfigError(
                f"The chart '{chart.name}' does not depend on a {key}. Leave out --{key}."
            )
    quality = [name for name, fact in contents.metrics.items() if fact["measures"] == "quality"]
    metrics = leads(contents)
    if "quality" in chart.by:  # beside which only a metric of diversity makes sense
        metrics = [m for m in metrics if contents.metrics[m]["measures"] == "diversity"] or metrics
    known = {
        "task": contents.tasks,
        "metric": metrics,
        "quality": quality,
    }
    made = {}
    for key in chart.by:
        if key == "quality" and not quality:
            raise ConfigError(
                f"The chart '{chart.name}' needs a metric of quality, and {contents.path} has "
                "none. Score it with one: --reward-model MODEL, or --metric NAME"
            )
        asked = choice.get(key)
        if asked is not None and asked not in known[key]:
            listing = f"tofu-eval compare {contents.path}"
            raise UnknownNameError.of(
                "metric" if key != "task" else key, asked, known[key], listing
            )
        made[key] = asked or known[key][0]
    return made


def leads(contents: Contents) -> list[str]:
    """The metrics: those whose frontier is of several runs, then as they lead the verdict."""
    rows = in_leading_order(contents.comparison.rows)
    return list(dict.fromkeys((*contents.shared, *(row.metric for row in rows))))


def specification(
    contents: Contents, name: str, choice: Mapping[str, str | None], *, theme: str = "light"
) -> Spec:
    """A chart with its data, whole: what Vega-Lite draws.

    Raises:
        UnknownNameError: no such chart, task or metric.
        ConfigError: there is nothing to draw.
    """
    if name not in CHARTS:
        raise UnknownNameError.of("plot", name, CHARTS, "tofu-eval plot --help")
    chart = CHARTS[name]
    chosen = choose(contents, chart, choice)
    data = rows(contents, chart, chosen)
    if not data:
        said = ", ".join(f"{key} {value}" for key, value in chosen.items())
        raise ConfigError(
            f"The chart '{name}' has nothing to draw for {said}. "
            f"Choose others: tofu-eval compare {contents.path}"
        )
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{VERSION[0]}.json",
        "description": f"{chart.title}. {chart.about}",
        "data": {"values": data},
        "config": THEMES[theme]["config"],
        **filled(chart.spec, settings(contents, data, chosen, theme)),
    }


def draw(
    contents: Contents,
    name: str,
    *,
    format: str,
    theme: str = "light",
    metrics: Sequence[str] = (),
    **choice: str | None,
) -> bytes:
    """A chart as the bytes of an SVG, PNG or PDF file.

    Args:
        contents: of `read`.
        name: one of CHARTS.
        format: one of FORMATS; SVG and PDF keep text as text, PNG has PIXELS dots a pixel.
        theme: "light" or "dark".
        metrics: for these, one below the other, where the chart takes one.
        choice: `task`, `metric` and `quality`, where the chart takes them.
    Raises:
        UnknownNameError: no such chart, format, task or metric.
        ConfigError: there is nothing to draw.
        MissingDependencyError: vl-convert is not installed.
    """
    if format not in FORMATS:
        raise UnknownNameError.of("format", format, FORMATS, "tofu-eval plot --help")
    charts = [
        specification(contents, name, {**choice, "metric": metric}, theme=theme)
        for metric in dict.fromkeys(metrics) or [choice.get("metric")]
    ]
    made = charts[0] if len(charts) == 1 else _stacked(charts, metrics)
    made["background"] = THEMES[theme]["background"]
    made["padding"] = 8
    convert = converter()
    if format == "svg":
        return str(convert.vegalite_to_svg(made, vl_version=VERSION)).encode()
    if format == "pdf":
        return bytes(convert.vegalite_to_pdf(made, vl_version=VERSION))
    return bytes(convert.vegalite_to_png(made, vl_version=VERSION, scale=PIXELS))


def _stacked(charts: Sequence[Spec], titles: Sequence[str]) -> Spec:
    """Charts one below the other, each under its title and with scales of its own."""
    shared = ("$schema", "config")
    parts = [
        {"title": title, **{key: value for key, value in chart.items() if key not in shared}}
        for title, chart in zip(dict.fromkeys(titles), charts, strict=True)
    ]
    return {
        **{key: charts[0][key] for key in shared},
        "vconcat": parts,
        "resolve": {"legend": {"color": "independent"}, "scale": {"color": "independent"}},
    }


def converter() -> Any:
    """The package that holds Vega-Lite.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("The report", "vl-convert-python", "report") from error
    return vl_convert


def _differences(contents: Contents, task: str, metric: str) -> list[Record]:
    """One row a model and prompt, ranked within the model."""
    table = contents.scores.get(task, {}).get(metric)
    if table is None:
        return []
    base = table[0]  # the baseline's
    made = []
    for model, column in zip(contents.models[1:], table[1:], strict=True):
        pairs = [
            (value - other, i, value, other)
            for i, (value, other) in enumerate(zip(column, base, strict=True))
            if value is not None and other is not None
        ]
        for rank, (difference, i, value, other) in enumerate(sorted(pairs), start=1):
            prompt = contents.prompts[task][i]
            made.append(
                {
                    "model": model,
                    "prompt": i,
                    "prompt_id": prompt["id"],
                    "baseline": other,
                    "value": value,
                    "difference": difference,
                    "rank": rank,
                }
            )
    return made
