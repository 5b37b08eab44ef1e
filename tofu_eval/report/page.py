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
from pathlib import Path
from typing import Any

import numpy as np

from tofu_eval.analysis.direction import arrow_of
from tofu_eval.core.templates import render_html
from tofu_eval.core.types import digest
from tofu_eval.core.version import __version__
from tofu_eval.report import drawing
from tofu_eval.report.charts import LINE, make_charts
from tofu_eval.report.contents import Contents, Record
from tofu_eval.report.formatting import estimate_text, p_text
from tofu_eval.report.themes import THEMES
from tofu_eval.run.files import atomic_write

SCRIPTS = ("base.js", "table.js", "charts.js", "explorer.js", "main.js")
BEGINNING = 120
"""Characters of a prompt that stand beside a point of a chart."""

CHIPS = {"less": "narrower", "more": "wider"}
"""How a verdict looks; the others have no colour."""

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
    style = _asset("style.css")
    scripts = [drawing.load_converter().javascript_bundle(vl_version=drawing.VERSION)]
    scripts.append("\n".join(_asset(f"script/{name}") for name in SCRIPTS))
    data = embed_json(_data(contents))
    values = {
        "policy": content_policy(scripts, [style]),
        "style": _raw(style),
        "scripts": [_raw(script) for script in scripts],
        "data": _raw(data),
        "title": contents.path.resolve().name,
        "answer": contents.answer,
        "notes": contents.notes,
        "findings": contents.findings,
        "about_findings": contents.about_findings,
        "shared": contents.shared,
        "rows": contents.rows,
        "several": len(contents.tasks) > 1,
        "chips": CHIPS,
        "baseline": contents.comparison.baseline,
        "tests": contents.comparison.tests,
        "created": str(contents.manifest.get("created", ""))[:10],
        "version": __version__,
    }
    return render_html(_asset("page.html"), values)


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


def _data(contents: Contents) -> Record:
    """What script.js reads."""
    models = contents.models
    kept = {
        task: {
            metric: [[_shorten(value) for value in row] for row in table]
            for metric, table in tables.items()
        }
        for task, tables in contents.scores.items()
    }
    rows = [{**row, **_texts(row)} for row in contents.datasets["estimates"]]
    first = {model: i for i, model in enumerate(models)}
    place = {key: i for i, key in enumerate((r.task, r.metric) for r in contents.comparison.rows)}
    rows.sort(key=lambda row: (place[row["task"], row["metric"]], first[row["model"]]))
    return {
        "models": models,
        "tasks": contents.tasks,
        "metrics": {
            name: {
                **fact,
                "title": drawing.metric_title(contents, name),
                "arrow": arrow_of(fact["direction"]),
                "reversed": drawing.is_reversed(contents, name),
            }
            for name, fact in contents.metrics.items()
        },
        "leads": drawing.leading_metrics(contents),
        "datasets": {
            "estimates": _columns(rows),
            **{name: _columns(t) for name, t in contents.datasets.items() if name != "estimates"},
        },
        "scores": kept,
        "people": contents.people,
        "prompts": {
            task: [[row["id"], row["text"][:BEGINNING]] for row in prompts]
            for task, prompts in contents.prompts.items()
        },
        "members": [model for members in contents.columns.values() for model in members],
        "explorer": contents.survey.texts,
        "method": contents.survey.method,
        "charts": [
            asdict(chart)
            for chart in make_charts(drawing.look_of(contents)).values()
            if chart.name != "steps" or contents.datasets["steps"]  # a watched training's alone
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
                for members in contents.columns.values()
                for name in members
            ],
        },
        "Tasks": {
            "names": ["task", "version", "prompts", "sampling", "licence"],
            "rows": [
                [
                    name,
                    tasks[name]["version"],
                    tasks[name]["prompts"],
                    ", ".join(f"{k} {v}" for k, v in tasks[name]["sampling"].items()),
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
