"""The page: one HTML file that holds everything and may load nothing.

What a model wrote stands in the file as JSON alone, in a block that no browser runs, with every
"<", ">" and "&" escaped; script.js makes nodes of text from it and nothing else. The policy in
the file lets just the scripts and the styles with the right hashes run: no network, no inline
handlers, no eval, and nothing may be parsed as HTML (docs/report.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from tofu_eval.analysis.direction import arrow_of
from tofu_eval.core.escape import latex_text, markdown_text
from tofu_eval.core.states import SHORT_OF
from tofu_eval.core.templates import render_html
from tofu_eval.core.types import digest
from tofu_eval.core.version import __version__
from tofu_eval.leaderboard.board import FROM_FILE
from tofu_eval.report import drawing
from tofu_eval.report.charts import make_charts
from tofu_eval.report.contents import Contents, Record
from tofu_eval.report.first_screen import model_rows, scale_of
from tofu_eval.report.formatting import estimate_text, p_text
from tofu_eval.report.headline import adjustment_text
from tofu_eval.report.look import LINE
from tofu_eval.report.meaning_classes import THRESHOLD
from tofu_eval.report.scale import Scale
from tofu_eval.report.themes import THEMES
from tofu_eval.run.files import atomic_write

SCRIPTS = (
    *("base.js", "choice.js", "interval.js", "forest.js", "shares.js", "near.js", "map.js"),
    *("copy.js", "table.js", "lollipop.js", "charts.js", "cards.js", "explorer.js", "main.js"),
)
STYLES = ("colours.css", "page.css", "first_screen.css", "responses.css")
BEGINNING = 120
"""Characters of a prompt that stand beside a point of a chart."""

DIGITS = 6
"""Significant digits of the numbers behind charts."""

REPLACED = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def write_page(path: Path, contents: Contents) -> int:
    """Write the page atomically.

    Args:
        path: the file.
        contents: of `read`, with the responses.
    Returns: its size in bytes.
    Raises:
        MissingDependencyError: vl-convert is not installed.
        StoreError: the file cannot be written.
    """
    page = render(contents).encode()
    atomic_write(path, lambda file: file.write(page))
    return len(page)


def render(contents: Contents) -> str:
    """The page as text."""
    style = "\n".join(_asset(f"style/{name}") for name in STYLES)
    scripts = [drawing.load_converter().javascript_bundle(vl_version=drawing.VERSION)]
    scripts.append("\n".join(_asset(f"script/{name}") for name in SCRIPTS))
    scale = scale_of(contents.comparison)
    data = embed_json(_data(contents, scale))
    values = {
        "policy": content_policy(scripts, [style]),
        "style": _raw(style),
        "scripts": [_raw(script) for script in scripts],
        "data": _raw(data),
        "title": contents.path.resolve().name,
        "first_screen": _raw(_first_screen(contents, scale)),
        "baseline": contents.comparison.baseline,
        "tests": contents.comparison.tests,
        "created": str(contents.manifest.get("created", ""))[:10],
        "version": __version__,
    }
    return render_html(_asset("page.html"), values)


def _first_screen(contents: Contents, scale: Scale) -> str:
    comparison = contents.comparison
    values = {
        "title": contents.path.resolve().name,
        "about": _about_line(contents),
        "rows": model_rows(comparison),
        "several": len(contents.tasks) > 1,
        "scale": scale,
        "ticks": scale.ticks(),
        "baseline": comparison.baseline,
        "adjusted": adjustment_text(comparison),
        "answer": contents.answer,
        "notes": contents.notes,
        "findings": contents.findings,
        "about_findings": contents.about_findings,
        "shared": contents.shared,
    }
    return render_html(_asset("first_screen.html"), values)


def _about_line(contents: Contents) -> str:
    """`24 prompts · 576 responses · open-prompts · T = 1 · base is the baseline`."""
    tasks = contents.manifest["tasks"]
    prompts = sum(tasks[task]["prompts"] for task in contents.tasks)
    temperatures = _temperatures(contents)
    parts = [f"{prompts:,} prompts", f"{contents.survey.responses:,} responses"]
    parts.append(contents.tasks[0] if len(contents.tasks) == 1 else f"{len(contents.tasks)} tasks")
    if temperatures:
        parts.append(f"T = {', '.join(f'{one:g}' for one in temperatures)}")
    return " · ".join([*parts, f"{contents.comparison.baseline} is the baseline"])


def _temperatures(contents: Contents) -> list[float]:
    """At which the models that are shown were asked, in order: a sweep's, or the tasks' own."""
    models, tasks = contents.manifest["models"], contents.manifest["tasks"]
    asked = {
        models[name].get("temperature", tasks[task]["sampling"].get("temperature"))
        for name in _members(contents)
        for task in contents.tasks
        if models[name]["engine"] != FROM_FILE
    }
    return sorted(asked - {None})


def _members(contents: Contents) -> list[str]:
    """The models that are shown, each seed by itself."""
    return [name for members in contents.columns.values() for name in members]


def content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A Content-Security-Policy that allows these texts and nothing else."""
    parts = [
        "default-src 'none'",
        f"script-src {' '.join(map(_hash, scripts))}",
        f"style-src {' '.join(map(_hash, styles))}",
        "base-uri 'none'",
        "form-action 'none'",
        # Nothing may become HTML but the empty text that Vega clears its own element with.
        "require-trusted-types-for 'script'",
        "trusted-types default",
    ]
    return "; ".join(parts)


def embed_json(value: Any) -> str:
    """JSON that can stand in a <script> element and ends it nowhere; NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in REPLACED.items():
        text = text.replace(character, escape)
    return text


def _data(contents: Contents, scale: Scale) -> Record:
    """What script.js reads."""
    models = contents.models
    kept = {
        task: {
            metric: [[_shorten(value) for value in row] for row in table]
            for metric, table in tables.items()
        }
        for task, tables in contents.scores.items()
    }
    rows = [{**row, **_texts(row), **_places(row, scale)} for row in contents.datasets["estimates"]]
    first = {model: i for i, model in enumerate(models)}
    place = {key: i for i, key in enumerate((r.task, r.metric) for r in contents.comparison.rows)}
    rows.sort(key=lambda row: (place[row["task"], row["metric"]], first[row["model"]]))
    return {
        "models": models,
        "tasks": contents.tasks,
        "metrics": {
            name: {
                **fact,
                "group": drawing.group_of(fact),
                "word": drawing.direction_word(contents, name),
                "arrow": arrow_of(fact["direction"]),
                "reversed": drawing.is_reversed(contents, name),
            }
            for name, fact in contents.metrics.items()
        },
        "groups": drawing.GROUPS,
        "ticks": scale.ticks(),
        "copies": {
            "text": contents.answer,
            "markdown": markdown_text(contents.answer),
            "latex": latex_text(contents.answer),
        },
        "leads": drawing.leading_metrics(contents),
        "datasets": {
            "estimates": _columns(rows),
            **{name: _columns(t) for name, t in contents.datasets.items() if name != "estimates"},
        },
        "scores": kept,
        "people": contents.people,
        "prompts": {
            task: [
                [row["id"], row["text"][:BEGINNING], label]
                for row, label in zip(prompts, _labels(prompts), strict=True)
            ]
            for task, prompts in contents.prompts.items()
        },
        "members": _members(contents),
        "explorer": contents.survey.texts,
        "method": contents.survey.method,
        "cosine": THRESHOLD,
        "charts": [
            asdict(chart)
            for chart in sorted(
                make_charts(drawing.look_of(contents)).values(),
                key=lambda chart: chart.name != "steps",  # a watched training's lines come first
            )
            if chart.name != "forest"  # the first screen has it
            if chart.name != "steps" or contents.datasets["steps"]
        ],
        "schema": f"https://vega.github.io/schema/vega-lite/v{drawing.VERSION[0]}.json",
        "line": LINE,
        "themes": THEMES,
        "about": _about(contents),
    }


def _texts(row: Record) -> Record:
    """The numbers of an estimate as people read them."""
    mean = estimate_text(row["value"], row["low"], row["high"])
    versus = (row["difference"], row["difference_low"], row["difference_high"])
    return {
        "mean_text": mean or ("undefined" if row["undefined"] else "—"),
        "difference_text": estimate_text(*versus, sign="+"),
        "p_text": "" if row["p_adjusted"] is None else p_text(row["p_adjusted"]),
    }


def _labels(prompts: Sequence[Record]) -> list[str]:
    return drawing.prompt_labels([row["text"] or row["id"] for row in prompts])


def _places(row: Record, scale: Scale) -> Record:
    """Where a standardised difference stands on the line, in percent of its width."""
    names = {"at": "effect", "at_low": "effect_low", "at_high": "effect_high"}
    if row["beyond"]:
        return dict.fromkeys(names, scale.place(row["beyond"] * inf))
    return {at: None if row[name] is None else scale.place(row[name]) for at, name in names.items()}


def _columns(rows: Sequence[Record]) -> Record:
    """Rows of the same fields, each field's name said once."""
    names = list(rows[0]) if rows else []
    return {"names": names, "rows": [[_shorten(row[name]) for name in names] for row in rows]}


def _shorten(value: Any) -> Any:
    return (
        float(np.format_float_positional(value, DIGITS, fractional=False))
        if isinstance(value, float)
        else value
    )


def _about(contents: Contents) -> Record:
    """Where the numbers come from."""
    manifest = contents.manifest
    models, tasks = manifest["models"], manifest["tasks"]
    tool = manifest.get("tool") or {}
    facts = manifest.get("metrics", {})
    return {
        "Models": {
            "names": ["model", "engine", "prompt format", "digest of its identity"],
            "rows": [
                [
                    name,
                    models[name]["engine"],
                    ", ".join(dict.fromkeys(map(str, models[name]["prompt_format"].values()))),
                    digest(models[name]["identity"])[:16],
                ]
                for name in _members(contents)
            ],
        },
        "Tasks": {
            "names": ["task", "version", "prompts", "sampling", "licence"],
            "rows": [
                [
                    name,
                    tasks[name]["version"],
                    tasks[name]["prompts"],
                    _sampling_text(contents, name),
                    str(tasks[name].get("licence") or ""),
                ]
                for name in contents.tasks
            ],
        },
        "Metrics": {
            "names": ["metric", "measures", "signature", "paper"],
            "rows": [
                [name, fact["measures"], contents.signatures.get(name, ""), facts[name]["paper"]]
                for name, fact in contents.metrics.items()
            ],
        },
        **_states(contents),
        "Made by": {
            "names": ["what", "value"],
            "rows": [
                ["tool", f"{tool.get('name', 'tofu-eval')} {tool.get('version', '')}"],
                ["run began", str(manifest.get("created", ""))],
                ["seed", manifest["settings"]["seed"]],
            ],
        },
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _raw(text: str) -> Any:
    """Text of ours (an asset, or JSON out of `embedded`) that is not escaped again."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _sampling_text(contents: Contents, task: str) -> str:
    """How a task was sampled; in a sweep, at all of its temperatures."""
    sampling = dict(contents.manifest["tasks"][task]["sampling"])
    if len(several := _temperatures(contents)) > 1 and "temperature" in sampling:
        sampling["temperature"] = " and ".join(f"{one:g}" for one in several)
    return ", ".join(f"{name} {value}" for name, value in sampling.items())


def _states(contents: Contents) -> Record:
    """Of which models responses are cut off or have no text; nothing where of none."""
    counted = contents.manifest.get("states", {})
    rows = [
        [name, task, counts["responses"], *(counts[state] for state in SHORT_OF)]
        for name in _members(contents)
        for task, counts in counted.get(name, {}).items()
        if task in contents.tasks and any(counts[state] for state in SHORT_OF)
    ]
    table = {"names": ["model", "task", "responses", *SHORT_OF], "rows": rows}
    return {"Responses": table} if rows else {}
