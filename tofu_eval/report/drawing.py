"""A chart with the data of a run, in the page and as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.analysis.verdict import in_leading_order
from tofu_eval.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from tofu_eval.core.escape import printable
from tofu_eval.core.memory import check_addresses
from tofu_eval.report.charts import CHARTS, make_charts
from tofu_eval.report.contents import Contents, Record
from tofu_eval.report.look import LINE, Chart, Look, Spec
from tofu_eval.report.themes import THEMES

FORMATS = ("svg", "png", "pdf")
VERSION = "6.4"
"""Of Vega-Lite."""

WIDTH = 480
"""Of a drawn plot without its axes, in pixels."""

LABEL = 48
"""Characters of a prompt beside its line."""

COMMON = 12
"""Characters that all prompts begin with, from which on they are left out."""

PIXELS = 3.0
"""Dots of a PNG a pixel: 288 an inch."""


def rows(contents: Contents, chart: Chart, choice: Mapping[str, str]) -> list[Record]:
    """The data of a chart for what was chosen."""
    if chart.dataset == "forest":
        return _forest_rows(contents, choice["task"])
    if chart.dataset == "scores":
        line = contents.people.get(choice["task"], {}).get(choice["metric"], {})
        made = _differences(contents, choice["task"], choice["metric"])
        return [{**row, **line} for row in made]
    name = "estimates" if chart.dataset == "differences" else chart.dataset
    records = [
        row for row in contents.datasets[name] if all(row[key] == choice[key] for key in chart.by)
    ]
    if chart.dataset == "differences":
        return [row for row in records if row["difference"] is not None]
    return records


def look_of(contents: Contents) -> Look:
    """What the charts of a report have in common."""
    methods = dict.fromkeys(row["method"] for row in contents.datasets["frontier"])
    return Look(
        contents.models,
        contents.tasks,
        tuple(methods),
        contents.comparison.baseline,
        bool(contents.people),
    )


def direction_word(contents: Contents, metric: str) -> str:
    """What the good side of a metric's axis means: wider, better, or nothing."""
    fact = contents.metrics[metric]
    if not sign_of_direction(fact["direction"]):
        return ""
    return "better" if fact["measures"] == "quality" else "wider"


def is_reversed(contents: Contents, metric: str) -> bool:
    """Whether lower values are more diverse, or better: then an axis runs the other way."""
    return sign_of_direction(contents.metrics[metric]["direction"]) < 0


def _axis_title(contents: Contents, named: str, metric: str, channel: str) -> str:
    """`self_bleu minus base, wider →`."""
    minus = f" minus {contents.comparison.baseline}" if named == "difference" else ""
    word = direction_word(contents, metric)
    way = f", {word} {'→' if channel == 'x' else '↑'}" if word else ""
    return f"{metric}{minus}{way}"


def _caption(contents: Contents, chart: Chart, chosen: Mapping[str, str], data: Any) -> str:
    """What a drawn chart is about: the choice, the baseline and n."""
    parts = list(chosen.values())
    if chart.dataset in ("differences", "forest", "scores"):
        parts.append(f"compared with {contents.comparison.baseline}")
    return " · ".join([*parts, *filter(None, [_count_text(data)])])


def _count_text(data: Sequence[Record]) -> str:
    """`n = 24 prompts`, `n = 9 to 26 prompts`, `n = 192 responses`."""
    counts = [row[name] for row in data for name in ("pairs", "n", "prompts") if row.get(name)]
    noun = "prompts"
    if ids := {row["prompt_id"] for row in data if "prompt_id" in row}:
        counts = [len(ids)]
    elif not counts:
        counts, noun = [row["responses"] for row in data if "responses" in row], "responses a model"
    if not counts:
        return ""
    least, most = min(counts), max(counts)
    return f"n = {least:,}{'' if least == most else f' to {most:,}'} {noun}"


def resolve_choice(
    contents: Contents, chart: Chart, choice: Mapping[str, str | None]
) -> dict[str, str]:
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
    metrics = leading_metrics(contents)
    if "quality" in chart.by:  # beside which only a metric of diversity makes sense
        metrics = [m for m in metrics if contents.metrics[m]["measures"] == "diversity"] or metrics
    offered = {
        "task": contents.tasks,
        "metric": metrics,
        "quality": quality,
    }
    resolved = {}
    for key in chart.by:
        if key == "quality" and not quality:
            raise ConfigError(
                f"The chart '{chart.name}' needs a metric of quality, and {contents.path} has "
                "none. Score it with one: --reward-model MODEL, or --metric NAME"
            )
        asked = choice.get(key)
        if asked is not None and asked not in offered[key]:
            listing = f"tofu-eval compare {contents.path}"
            raise UnknownNameError.of(
                "metric" if key != "task" else key, asked, offered[key], listing
            )
        resolved[key] = asked or offered[key][0]
    return resolved


def leading_metrics(contents: Contents) -> list[str]:
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
    chart = make_charts(look_of(contents))[name]
    chosen = resolve_choice(contents, chart, choice)
    data = rows(contents, chart, chosen)
    if not data:
        said = ", ".join(f"{key} {value}" for key, value in chosen.items())
        raise ConfigError(
            f"The chart '{name}' has nothing to draw for {said}. "
            f"Choose others: tofu-eval compare {contents.path}"
        )
    spec = chart.spec
    for channel, named in chart.axes.items():
        metric = chosen["quality" if named == "quality" else "metric"]
        side = spec["encoding"][channel]
        side["axis"]["title"] = _axis_title(contents, named, metric, channel)
        # A copy: one scale may be that of several charts.
        side["scale"] = {**side["scale"], "reverse": is_reversed(contents, metric)}
    if data[0].get("log"):
        spec["encoding"]["x"]["scale"] = {"type": "log"}
    drawn = _drawn_rows(contents, chart, chosen, data)
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{VERSION[0]}.json",
        "description": f"{chart.title}. {chart.about}",
        "title": {"text": chart.title, "subtitle": _caption(contents, chart, chosen, data)},
        "data": {"values": drawn},
        "config": THEMES[theme]["config"],
        "width": WIDTH,
        "height": max(60, LINE * len({(_line(row), row["model"]) for row in drawn})),
        **spec,
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
    chart = charts[0] if len(charts) == 1 else _stack(charts)
    chart["background"] = THEMES[theme]["background"]
    chart["padding"] = 8
    convert = load_converter()
    if format == "svg":
        return str(convert.vegalite_to_svg(chart, vl_version=VERSION)).encode()
    if format == "pdf":
        return bytes(convert.vegalite_to_pdf(chart, vl_version=VERSION))
    return bytes(convert.vegalite_to_png(chart, vl_version=VERSION, scale=PIXELS))


def _stack(charts: Sequence[Spec]) -> Spec:
    """Charts one below the other, each with scales of its own."""
    shared = ("$schema", "config")
    return {
        **{key: charts[0][key] for key in shared},
        "vconcat": [{k: v for k, v in chart.items() if k not in shared} for chart in charts],
        "resolve": {"scale": dict.fromkeys(("color", "shape", "fill"), "independent")},
    }


V8_ADDRESSES = 66 * 2**30
"""What V8 sets apart, not as memory; where it cannot, it ends the process."""


def load_converter() -> Any:
    """The package that holds Vega-Lite.

    Raises:
        MissingDependencyError: it is not installed.
        MemoryError: address space is limited to less than its V8 sets apart.
    """
    check_addresses(V8_ADDRESSES, "the library that draws")
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("The report", "vl-convert-python", "report") from error
    return vl_convert


GROUPS = ("meaning", "classes", "words", "probability", "other", "quality")
"""Of the forest: what a metric of diversity sees, in the order of how much that tells; quality
stands apart."""


def group_of(fact: Record) -> str:
    """The group of a metric."""
    return "quality" if fact["measures"] == "quality" else str(fact["sees"])


def _forest_rows(contents: Contents, task: str) -> list[Record]:
    """The standardised differences on a task, the groups in order, a label a metric."""
    return [
        {**row, "label": f"{group} · {row['metric']}"}
        for group in GROUPS
        for row in contents.datasets["estimates"]
        if row["task"] == task and row["effect"] is not None
        if group_of(contents.metrics[row["metric"]]) == group
    ]


def _line(row: Record) -> Any:
    return row.get("label", row.get("task"))


def _drawn_rows(
    contents: Contents, chart: Chart, chosen: Mapping[str, str], rows: Sequence[Record]
) -> list[Record]:
    """All of them; of a chart with so many lines at most, the prompts that changed most.

    The narrowest of these stand first.
    """
    if chart.lines is None:
        return list(rows)
    by_prompt: dict[str, list[Record]] = {}
    for row in rows:
        by_prompt.setdefault(row["label"], []).append(row)
    most = max(4, chart.lines // max(1, len(contents.models) - 1))
    sign = sign_of_direction(contents.metrics[chosen["metric"]]["direction"]) or 1
    changed = sorted(by_prompt, key=lambda p: -max(abs(r["difference"]) for r in by_prompt[p]))
    kept = sorted(changed[:most], key=lambda p: _mean_difference(by_prompt[p]) * sign)
    return [row for label in kept for row in by_prompt[label]]


def _mean_difference(rows: Sequence[Record]) -> float:
    return float(sum(row["difference"] for row in rows)) / len(rows)


def _differences(contents: Contents, task: str, metric: str) -> list[Record]:
    """One row a model and prompt, in the order of the prompts."""
    table = contents.scores.get(task, {}).get(metric)
    if table is None:
        return []
    labels = prompt_labels([row["text"] or row["id"] for row in contents.prompts[task]])
    base = table[0]  # the baseline's
    return [
        {
            "model": model,
            "prompt": i,
            "prompt_id": contents.prompts[task][i]["id"],
            "label": labels[i],
            "baseline": other,
            "value": value,
            "difference": value - other,
        }
        for model, column in zip(contents.models[1:], table[1:], strict=True)
        for i, (value, other) in enumerate(zip(column, base, strict=True))
        if value is not None and other is not None
    ]


def prompt_labels(texts: Sequence[str]) -> list[str]:
    """Each prompt in a few words, made different where several are alike.

    What all of them begin with, if it is long, says nothing and is left out.
    """
    plain = [printable(" ".join(text.split())) for text in texts]
    first, last = min(plain, default=""), max(plain, default="")  # all others lie between
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    start = first.rfind(" ", 0, same) + 1
    short = [f"…{text[start:]}" if start >= COMMON else text for text in plain]
    short = [label[:LABEL] for label in short]
    alike = Counter(short)
    return [label if alike[label] == 1 else f"{label} ({i + 1})" for i, label in enumerate(short)]
