"""LaTeX: models by metrics, a table a task, for `booktabs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tofu_eval.core.escape import latex_text
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.view import (
    Block,
    answers_of,
    blocks,
    interval_text,
    notes_of,
    number_text,
    warnings_of_board,
)

_PER_TABLE = 4
"""Metrics side by side: what fits on a page."""

ARROWS = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}


@export(name="latex", help="models by metrics, for booktabs; bold: nothing is shown to be better")
def as_latex(board: Board) -> str:
    """A table for up to four metrics of a task; bold is what nothing is shown to beat."""
    return tables_of(board, _table, _PER_TABLE)


def tables_of(board: Board, table: Callable[[Sequence[Block]], list[str]], per_table: int) -> str:
    """A board as tables of so many metrics of a task, and beneath them what limits it."""
    by_task: dict[str, list[Block]] = {}
    for block in blocks(board):
        by_task.setdefault(block.task, []).append(block)
    lines = [r"% needs \usepackage{booktabs}"]
    said = [*answers_of(board), *warnings_of_board(board), *notes_of(board)[1:]]
    for of_task in by_task.values():
        for start in range(0, len(of_task), per_table):
            lines += table(of_task[start : start + per_table])
    lines += [f"\\noindent {latex_text(' '.join(said))}\\par"] if said else []
    return "\n".join(lines) + "\n"


def _table(shown: Sequence[Block]) -> list[str]:
    cells = [{block.label_of(row): row for row in block.rows} for block in shown]
    lines = []
    for label in dict.fromkeys(label for column in cells for label in column):
        texts = [_cell(column.get(label)) for column in cells]
        lines.append(" & ".join([latex_text(label), *texts]) + r" \\")
    heads = [latex_text(block.metric_label) + ARROWS[block.sign] for block in shown]
    cited = "; ".join(dict.fromkeys(latex_text(block.signature) for block in shown))
    return [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex_text(shown[0].task_label)}: mean over prompts with its 95\\% "
        "interval. Bold: no model is significantly better.}",
        f"  \\begin{{tabular}}{{l{'l' * len(shown)}}}",
        r"    \toprule",
        "    " + " & ".join(["model", *heads]) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in lines),
        r"    \bottomrule",
        r"  \end{tabular}",
        f"  % {cited}",
        r"\end{table}",
    ]


def _cell(row: BoardRow | None) -> str:
    if row is None:
        return "--"
    value = latex_text(number_text(row.value))
    if row.is_best:
        value = rf"\textbf{{{value}}}"
    return f"{value} {latex_text(interval_text(row))}".strip()
