"""A board as CSV, Markdown or LaTeX. No text of a board is taken for a formula or for markup."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.core.escape import _bar, _latex, _markdown, _plain
from tofu_eval.leaderboard.view import Block, Row, blocks, citation, interval, labels, number

_FIELDS = (
    "task", "task_version", "metric", "metric_version", "direction", "model", "run", "rank",
    "better_than", "worse_than", "value", "low", "high", "n", "undefined", "method", "signature",
    "task_package", "metric_package", "citation",
)  # fmt: skip

_PER_TABLE = 4
"""Metrics side by side in a LaTeX table: what fits on a page."""

_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "none": ""}


def as_csv(board: Mapping[str, Any]) -> str:
    """A row a row, full floats; undefined is an empty field. Texts never begin as a formula."""
    tasks = {task["id"]: task for task in board["tasks"]}
    metrics = {metric["id"]: metric for metric in board["metrics"]}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_FIELDS)
    for row in board["rows"]:
        task, metric = tasks[row["task"]], metrics[row["metric"]]
        record = {
            **row,
            "task_version": task["version"],
            "metric_version": metric["version"],
            "direction": metric["direction"],
            "task_package": package(task),
            "metric_package": package(metric),
            "citation": citation(board, row),
        }
        writer.writerow(_plain(record[name]) for name in _FIELDS)
    return file.getvalue()


def as_markdown(board: Mapping[str, Any]) -> str:
    """A table a task: metric, rank, model, value with its 95% interval, prompts."""
    called = labels(board)
    out: list[str] = []
    task = None
    for block in blocks(board):
        if block.task != task:
            task = block.task
            out += ["", f"### {_markdown(task)}", "", _bar(_HEADER), _bar(_RULE)]
        for row in block.rows:
            rank = "" if row["rank"] is None else str(row["rank"])
            value = f"{number(row['value'])} {interval(row)}".strip()
            name = called[row["run"], row["model"]]
            cells = (block.title, rank, name, value, str(row["n"]))
            out.append(_bar([_markdown(cell) for cell in cells]))
    notes = [f"- {_markdown(note)}" for note in notes_of(board)]
    return "\n".join([*out[1:], "", *notes]) + "\n"


_HEADER = ("metric", "rank", "model", "mean [95% interval]", "n")
_RULE = (":--", "--:", ":--", ":--", "--:")


def as_latex(board: Mapping[str, Any]) -> str:
    """Models by metrics, a table a task, for `booktabs`; what shares rank 1 is bold."""
    called = labels(board)
    by_task: dict[str, list[Block]] = {}
    for block in blocks(board):
        by_task.setdefault(block.task, []).append(block)
    out = [r"% needs \usepackage{booktabs}"]
    for task, found in by_task.items():
        for start in range(0, len(found), _PER_TABLE):
            out += _latex_table(task, found[start : start + _PER_TABLE], called)
    return "\n".join(out) + "\n"


def _latex_table(
    task: str, found: Sequence[Block], called: Mapping[tuple[str, str], str]
) -> list[str]:
    cells = [{(row["run"], row["model"]): row for row in block.rows} for block in found]
    lines = []
    for place in dict.fromkeys(place for column in cells for place in column):
        shown = [_latex_cell(column.get(place)) for column in cells]
        lines.append(" & ".join([_latex(called[place]), *shown]) + r" \\")
    heads = [_latex(block.metric) + _ARROWS[block.direction] for block in found]
    cited = "; ".join(dict.fromkeys(_latex(block.signature) for block in found))
    return [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_latex(task)}: mean over prompts with its 95\\% interval. Bold: no model "
        "is significantly better.}",
        f"  \\begin{{tabular}}{{l{'l' * len(found)}}}",
        r"    \toprule",
        "    " + " & ".join(["model", *heads]) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in lines),
        r"    \bottomrule",
        r"  \end{tabular}",
        f"  % {cited}",
        r"\end{table}",
    ]


def _latex_cell(row: Row | None) -> str:
    if row is None:
        return "--"
    value = _latex(number(row["value"]))
    if row["rank"] == 1:
        value = rf"\textbf{{{value}}}"
    return f"{value} {_latex(interval(row))}".strip()


def notes_of(board: Mapping[str, Any]) -> list[str]:
    """What stands below a table: how to read it, and who brings what is not of this house."""
    notes = [
        "↑ higher is more diverse, ↓ lower is; of a quality metric: better. "
        "Models whose difference is not significant share a rank.",
    ]
    for noun in ("task", "metric"):
        for item in board[f"{noun}s"]:
            if item["package"] is None or item["package"]["name"] != "tofu-eval":
                who = package(item) or "no installed package"
                notes.append(f"The {noun} {item['id']}, version {item['version']}, is of {who}.")
    return notes


def package(item: Mapping[str, Any]) -> str:
    """`name version` of the package that brings a task or metric; empty for the user's own."""
    found = item["package"]
    return "" if found is None else f"{found['name']} {found['version']}"
