"""LaTeX: the ranks that the tests leave each model, models by metrics, for `booktabs`."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.core.escape import latex_text
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.exports.latex import ARROWS, tables_of
from tofu_eval.leaderboard.view import Block, rank_text

_PER_TABLE = 6
"""Metrics side by side: ranks are narrow."""


@export(name="latex-ranks", help="ranges of ranks, models by metrics, for booktabs")
def as_latex_ranks(board: Board) -> str:
    """A table for up to six metrics of a task; bold is what nothing is shown to beat."""
    return tables_of(board, _table, _PER_TABLE)


def _table(shown: Sequence[Block]) -> list[str]:
    cells = [{block.label_of(row): row for row in block.rows} for block in shown]
    lines = [
        " & ".join([latex_text(label), *(_cell(column.get(label)) for column in cells)]) + r" \\"
        for label in dict.fromkeys(label for column in cells for label in column)
    ]
    heads = [latex_text(block.metric_label) + ARROWS[block.sign] for block in shown]
    counts = [_count(block) for block in shown]
    return [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex_text(shown[0].task_label)}: the ranks that the tests leave each "
        "model. The first counts who is significantly better, the last who is significantly "
        "worse. Bold: no model is significantly better.}",
        f"  \\begin{{tabular}}{{l{'r' * len(shown)}}}",
        r"    \toprule",
        "    " + " & ".join(["model", *heads]) + r" \\",
        "    " + " & ".join(["", *counts]) + r" \\",
        r"    \midrule",
        *(f"    {line}" for line in lines),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def _count(block: Block) -> str:
    """`of 12, n = 8`: how many are ranked together, at which number of responses."""
    ranked = sum(row.rank is not None for row in block.rows)
    return f"of {ranked}" + ("" if block.responses is None else f", n = {block.responses}")


def _cell(row: BoardRow | None) -> str:
    if row is None or row.rank is None:
        return "--"
    ranks = rank_text(row).replace("\N{EN DASH}", "--")
    return rf"\textbf{{{ranks}}}" if row.is_best else ranks
