"""A leaderboard as a table of Emacs' Org mode."""

from __future__ import annotations

from tofu_eval.core.escape import printable
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.exports import Option, export
from tofu_eval.leaderboard.view import blocks, number_text, rank_text


@export(
    name="org-table",
    help="a table of Org mode",
    options=[Option("caption", "what stands above the table", required=True)],
)
def as_org_table(board: Board, *, caption: str) -> str:
    """A line a row: metric, rank, model, value; bars in names become \\vert{}."""
    lines = [f"#+CAPTION: {printable(caption)}", "| metric | rank | model | mean |", "|-"]
    for block in blocks(board):
        for row in block.rows:
            cells = (block.title, rank_text(row), block.label_of(row), number_text(row.value))
            shown = (printable(cell).replace("|", r"\vert{}") for cell in cells)
            lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"
