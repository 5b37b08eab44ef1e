"""Numbers as people read them: three digits, and marks where a difference is clear."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import floor, log10

from tofu_eval.analysis.comparison import excludes_zero
from tofu_eval.analysis.equal_counts import Counts
from tofu_eval.analysis.verdict import Finding

_PLACES = 6
"""Digits after (or zeros before) the point, above which powers of ten are shorter."""


def estimate_text(
    value: float | None, low: float | None, high: float | None, sign: str = ""
) -> str:
    """`0.512 [0.490, 0.533]`: three digits of the largest number, the others to the same place."""
    if value is None:
        return ""
    bounds = () if low is None or high is None else (low, high)
    largest = max(abs(number) for number in (value, *bounds))
    places = 2 - floor(log10(largest)) if largest else 2
    style = f"{sign}.{max(places, 0)}f" if abs(places) <= _PLACES else f"{sign}.2e"
    texts = [f"{number + 0.0:{style}}" for number in (value, *bounds)]  # + 0.0: no "-0.00"
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if bounds else texts[0]


def p_text(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def counts_text(counts: Counts) -> str:
    """`8`, `2 to 8`: responses a prompt."""
    return f"{counts.least}" if counts.least == counts.most else f"{counts.least} to {counts.most}"


def mark_text(finding: Finding) -> str:
    """`**` clear, `*` an interval without 0, `†` no verdict."""
    if finding.is_compared and finding.voids:
        return "†"
    return "**" if finding.is_clear else "*" if excludes_zero(finding.cell) else ""


WIDTH = 80


def baseline_label(baseline: str) -> str:
    """The baseline in the head of a column: its name, unless that is what makes it wide."""
    return baseline if len(baseline) <= 20 else "baseline"


def align_rows(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
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
