"""Markdown: a table a task."""

from __future__ import annotations

from tofu_eval.core.escape import markdown_row, markdown_text
from tofu_eval.leaderboard.board import Board
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.view import (
    answers_of,
    beats_text,
    blocks,
    interval_text,
    notes_of,
    number_text,
    rank_text,
    warnings_of_board,
)

_HEADER = ("metric", "rank", "model", "mean [95% interval]", "beats", "prompts")
_RULE = (":--", "--:", ":--", ":--", "--:", "--:")


@export(name="markdown", help="a table a task; bold: nothing is shown to be better")
def as_markdown(board: Board) -> str:
    """Metric, rank with the ranks it may have, model, value, 95% interval, beats, prompts."""
    answers = [markdown_text(answer) for answer in answers_of(board)]
    warnings = [f"- {markdown_text(warning)}" for warning in warnings_of_board(board)]
    lines: list[str] = [line for answer in answers for line in (answer, "")]
    lines += [*warnings, ""] if warnings else []
    task = None
    for block in blocks(board):
        if block.task != task:
            task = block.task
            heading = f"### {markdown_text(block.task_label)}"
            if lines and lines[-1]:
                lines.append("")
            lines += [heading, "", markdown_row(_HEADER), markdown_row(_RULE)]
        for row in block.rows:
            value = markdown_text(number_text(row.value))
            if row.is_best:
                value = f"**{value}**"
            span = markdown_text(interval_text(row))
            cells = (block.title, rank_text(row), block.label_of(row))
            shown = [markdown_text(cell) for cell in cells]
            beats = markdown_text(beats_text(row))
            lines.append(markdown_row([*shown, f"{value} {span}".strip(), beats, str(row.n)]))
    notes = [f"- {markdown_text(note)}" for note in notes_of(board)]
    return "\n".join([*lines, "", *notes]) + "\n"
