"""The files of a board's page: one of all models, and one a model.

Every file holds all that it shows and may load nothing; what the board says stands in it as escaped
text, or as JSON in a block that no browser runs (`report/page.py`). A file's name is a model's id,
which is made of what the model is and has no other characters than 0-9a-f.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from tofu_eval.core.templates import render_html
from tofu_eval.core.version import __version__
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.publishing.versions import Past
from tofu_eval.leaderboard.view import answers_of, notes_of, package_text, warnings_of_board
from tofu_eval.report.board.model_page import Pages
from tofu_eval.report.board.record import (
    Names,
    board_record,
    measured_rows,
    measurer_text,
    metrics_in_order,
    short_text,
)
from tofu_eval.report.page import content_policy, embed_json

Record = dict[str, Any]

SCRIPTS = (
    "script/base.js", "board/script/state.js", "board/script/pictures.js",
    "board/script/matrix.js", "board/script/main.js",
)  # fmt: skip
STYLES = ("style/colours.css", "style/page.css", "board/style.css")

SENTENCE = 1200
"""Characters of a sentence or a warning."""

FEW = 60
"""Models, tasks or warnings that a table of the page names."""


def board_site(board: Board, history: Sequence[Past] = ()) -> dict[str, bytes]:
    """The page of a board as files by their path: `index.html`, `models/ID.html`.

    Args:
        board: a leaderboard, which may be anybody's.
        history: the versions that were published, the board itself the last; none for a board that
            is not published.
    """
    names = Names.of(board)
    style = "\n".join(map(_asset, STYLES))
    pages = Pages(board, names, history, style, _asset("board/model.html"))
    files = {f"models/{model.id}.html": pages.page_of(model) for model in board.models}
    # GitHub Pages shall take the files as they are.
    return {".nojekyll": b"", **files, "index.html": _index(board, names, history, style)}


def _index(board: Board, names: Names, history: Sequence[Past], style: str) -> bytes:
    script = "\n".join(map(_asset, SCRIPTS))
    values = {
        "policy": content_policy([script], [style]),
        "style": Markup(style),  # noqa: S704 (our own)
        "scripts": [Markup(script)],  # noqa: S704 (our own)
        "data": Markup(embed_json(board_record(board, names, history[:-1]))),  # noqa: S704 (escaped)
        "title": _title(board, names),
        "counts": _counts(board, history),
        "runs": _runs(board),
        "answers": [short_text(answer, SENTENCE) for answer in answers_of(board)[:FEW]],
        "warnings": [short_text(text, SENTENCE) for text in warnings_of_board(board)[:FEW]],
        "versions": _versions(history),
        "tables": [_tasks(board, names), _metrics(board, names)],
        "notes": [short_text(note, SENTENCE) for note in notes_of(board)[:FEW]],
        "version": __version__,
        "hash": board.hash[:19],
    }
    return render_html(_asset("board/index.html"), values).encode()


def _title(board: Board, names: Names) -> str:
    tasks = list(names.tasks.values())
    where = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{_count(board.models, 'model')} on {where}"


def _counts(board: Board, history: Sequence[Past]) -> str:
    measurers = {measurer_text(board, run.id) for run in board.runs}
    parts = [_count(board.metrics, "metric"), _count(board.rows, "value")]
    parts.append(f"measured by {_few(sorted(measurers), 3)}")
    if history:
        parts.append(f"version {len(history)}, published {history[-1].version.published[:10]}")
    return " · ".join(parts)


def _runs(board: Board) -> Record:
    """Who measured what: a row a run."""
    rows, models, tasks = measured_rows(board), defaultdict(set), defaultdict(set)
    for row in board.rows:
        models[row.run].add(board.model_by_id[row.model].name)
        tasks[row.run].add(board.task_by_id[row.task].name)
    return {
        "names": ["who", "run", "models", "tasks", "values", "seed", "scored", "with", "on"],
        "rows": [
            [
                short_text(run.by) if run.by else "not said",
                run.id[:8],
                _few(sorted(models[run.id]), 3),
                _few(sorted(tasks[run.id]), 3),
                rows[run.id],
                "" if run.seed is None else run.seed,
                (run.finished or run.created)[:10],
                short_text(f"{run.tool.name} {run.tool.version}"),
                machines_text(run.machines),
            ]
            for run in board.runs
        ],
    }


def machines_text(machines: Sequence[Mapping[str, Any]]) -> str:
    """The machines of a run in a line."""
    texts = []
    for machine in machines[:3]:
        facts = [machine.get("system"), machine.get("processor")]
        cores = machine.get("cores")
        facts += [f"{cores} cores" if cores else None]
        gpus = machine.get("accelerators") or machine.get("gpus")
        facts += [json.dumps(gpus, ensure_ascii=False) if gpus else None]
        texts.append(", ".join(str(fact) for fact in facts if fact))
    return short_text("; ".join(texts))


def _versions(history: Sequence[Past]) -> Record:
    """What was published, the newest first."""
    rows = []
    known: set[str] | None = None
    for number, past in enumerate(history, 1):
        new = ""
        if past.board is not None:
            ids = {model.id for model in past.board.models}
            added = [past.board.model_by_id[id].name for id in ids - (known or set())]
            new = _few(sorted(added), 4) if known is not None and added else ""
            known = ids
        version = past.version
        cells = [
            number, version.published[:16].replace("T", " "), version.models, version.rows,
            new, version.hash[7:19],
        ]  # fmt: skip
        rows.append({"cells": cells, "file": version.file})
    return {
        "names": ["version", "published", "models", "values", "new models", "hash", "file"],
        "rows": rows[::-1],
    }


def _tasks(board: Board, names: Names) -> Record:
    return {
        "title": "Tasks: the prompts, how many responses, how they were drawn",
        "names": ["task", "version", "prompts", "sampling", "digest", "licence", "of", "source"],
        "rows": [
            [
                names.tasks[task.id],
                task.version,
                task.prompts,
                short_text(", ".join(f"{k} {v}" for k, v in (task.sampling or {}).items()))
                or "from files",
                task.digest[:12],
                short_text(task.licence),
                short_text(package_text(task) or "no installed package"),
                short_text(task.citation),
            ]
            for task in board.tasks
        ],
    }


def _metrics(board: Board, names: Names) -> Record:
    signatures: dict[str, dict[str, None]] = defaultdict(dict)
    for row in board.rows:
        signatures[row.metric][row.signature] = None
    return {
        "title": "Metrics: what they measure, their signatures",
        "names": ["metric", "measures", "better", "range", "signatures", "of", "paper"],
        "rows": [
            [
                names.metrics[metric.id],
                short_text(metric.measures),
                {"higher": "higher", "lower": "lower"}.get(metric.direction, "neither"),
                short_text(f"{metric.range[0]} to {metric.range[1]}"),
                _few([short_text(one) for one in signatures[metric.id]], 3),
                short_text(package_text(metric) or "no installed package"),
                short_text(metric.paper),
            ]
            for metric in metrics_in_order(board)
        ],
    }


def _few(texts: Sequence[str], most: int) -> str:
    """`a, b, c and 12 others`."""
    shown = ", ".join(map(short_text, texts[:most]))
    more = len(texts) - most
    return shown if more <= 0 else f"{shown} and {more} other{'' if more == 1 else 's'}"


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


@cache
def _asset(name: str) -> str:
    return resources.files("tofu_eval.report").joinpath(name).read_text("utf-8")
