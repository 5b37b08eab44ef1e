"""A board for a terminal of 80 columns: what `leaderboard show` prints."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tofu_eval.core.escape import printable
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.exports.base import export
from tofu_eval.leaderboard.view import (
    Block,
    answers_of,
    beats_text,
    blocks,
    interval_text,
    notes_of,
    number_text,
    rank_text,
    warnings_of_board,
)

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 80
_HEADER = ("rank", "model", "mean", "95% interval", "beats", "prompts")


@export(name="text", help="a table a task, as `leaderboard show` prints it")
def as_text(board: Board) -> str:
    """The same without styles."""
    return f"{show(board).plain}\n"


def show(board: Board) -> Text:
    """The rows by task and metric, best first, with ranks; for a `rich` console.

    Names too long for WIDTH are shortened in the middle.
    """
    from rich.text import Text

    shown = list(blocks(board))
    lines = [[_cells(block, row) for row in block.rows] for block in shown]
    widths = [
        max(map(len, column))
        for column in zip(_HEADER, *(line for some in lines for line in some), strict=True)
    ]
    widths[1] = min(widths[1], max(20, WIDTH - 2 - sum(widths) + widths[1] - 2 * len(widths[1:])))
    text, task = Text(), None
    for answer in answers_of(board):
        text.append(f"{_filled(answer)}\n")
    for warning in warnings_of_board(board):
        text.append(f"{_filled(f'! {warning}', '  ')}\n")
    text.append("\n" * bool(text.plain))
    several = Counter((block.task, block.title) for block in shown)
    for block, rows in zip(shown, lines, strict=True):
        if block.task != task:
            text.append("" if task is None else "\n")
            text.append(f"{printable(block.task_label)}\n", "bold")
            text.append(_line(_HEADER, widths), "dim")
            task = block.task
        text.append(f"{_shorten(printable(block.title), WIDTH)}\n", "bold")
        if several[block.task, block.title] > 1:
            text.append(f"  {printable(block.signature)}\n", "dim")
        for cells in rows:
            text.append(_line(cells, widths))
    text.append("\n" + "\n".join(map(printable, notes_of(board))), "dim")
    return text


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent * 2,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _cells(block: Block, row: BoardRow) -> list[str]:
    label = printable(block.label_of(row))
    return [
        *(rank_text(row), label, number_text(row.value)),
        *(interval_text(row), beats_text(row), str(row.n)),
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    rank, name, value, span, beats, n = cells
    parts = [
        rank.rjust(widths[0]),
        _shorten(name, widths[1]).ljust(widths[1]),
        value.ljust(widths[2]),
        span.ljust(widths[3]),
        beats.rjust(widths[4]),
        n.rjust(widths[5]),
    ]
    return f"  {'  '.join(parts)}\n"


def _shorten(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[: width - 1 - half]}…{text[len(text) - half :]}"
