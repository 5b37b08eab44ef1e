"""A board for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tofu_eval.core.escape import printable
from tofu_eval.leaderboard.exports.tables import notes_of
from tofu_eval.leaderboard.view import Block, blocks, interval, labels, number

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 80
_HEADER = ("rank", "model", "mean", "95% interval", "n")


def show(board: Mapping[str, Any]) -> Text:
    """The rows by task and metric, best first, with ranks; for a `rich` console.

    Names too long for WIDTH are cut in the middle.
    """
    from rich.text import Text

    found = list(blocks(board))
    called = labels(board)
    lines = {id(block): [_cells(row, called) for row in block.rows] for block in found}
    widths = [
        max(map(len, column))
        for column in zip(_HEADER, *(line for own in lines.values() for line in own), strict=True)
    ]
    widths[1] = min(widths[1], max(20, WIDTH - 2 - sum(widths) + widths[1] - 2 * len(widths[1:])))
    text, task = Text(), None
    several = _several(found)
    for block in found:
        if block.task != task:
            text.append("" if task is None else "\n")
            text.append(f"{block.task}\n", "bold")
            text.append(_line(_HEADER, widths), "dim")
            task = block.task
        text.append(f"{_cut(printable(block.title), WIDTH)}\n", "bold")
        if (block.task, block.metric) in several:
            text.append(f"  {printable(block.signature)}\n", "dim")
        for cells in lines[id(block)]:
            text.append(_line(cells, widths))
    text.append("\n" + "\n".join(map(printable, notes_of(board))), "dim")
    return text


def _several(found: Sequence[Block]) -> set[tuple[str, str]]:
    """The tasks and metrics with rows of more than one signature."""
    seen = [(block.task, block.metric) for block in found]
    return {place for place in seen if seen.count(place) > 1}


def _cells(row: Mapping[str, Any], called: Mapping[tuple[str, str], str]) -> list[str]:
    rank = "" if row["rank"] is None else str(row["rank"])
    name = called[row["run"], row["model"]]
    return [rank, name, number(row["value"]), interval(row), str(row["n"])]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    rank, name, value, span, n = cells
    parts = [
        rank.rjust(widths[0]),
        _cut(name, widths[1]).ljust(widths[1]),
        value.ljust(widths[2]),
        span.ljust(widths[3]),
        n.rjust(widths[4]),
    ]
    return f"  {'  '.join(parts)}\n"


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[: width - 1 - half]}…{text[len(text) - half :]}"
