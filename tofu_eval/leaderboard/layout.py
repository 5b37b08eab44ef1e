"""Columns of text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

WIDTH = 80


def called(baseline: str) -> str:
    """The baseline in the head of a column: its name, unless that is what makes it wide."""
    return baseline if len(baseline) <= 20 else "baseline"


def aligned(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Each row as text, indented; as two lines, its first cell on one of its own, where one line
    each would be wider than WIDTH.

    Args:
        rows: cells, as many in each; with the header, so that it stands over its columns.
        right: which columns are aligned at their right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str], start: int) -> str:
        cells = [
            row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i])
            for i in range(start, len(row))
        ]
        return "  ".join(cells).rstrip()

    if 2 + len("  ".join(" " * width for width in widths)) <= WIDTH:
        return [f"  {line(row, 0)}" for row in rows]
    return [f"  {row[0]}\n    {line(row, 1)}".rstrip() for row in rows]
