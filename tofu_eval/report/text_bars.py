"""The line of the first screen as a line of text: narrower left, wider right."""

from __future__ import annotations

from collections.abc import Sequence

from tofu_eval.report.first_screen import Mark
from tofu_eval.report.scale import Scale

BAR = 33
"""Characters of a bar; odd, so that no difference stands in the middle."""

LEGEND = "● clear, ○ not; ── 95% interval, in standard deviations of the differences (d_z)"
_ZERO, _RANGE, _CLEAR, _UNCLEAR = "┊", "─", "●", "○"


def bar_of(marks: Sequence[Mark], scale: Scale) -> str:
    """`     ──●──     ┊               `; without a mark the middle alone."""
    cells = [" "] * BAR
    cells[BAR // 2] = _ZERO
    for mark in marks:
        first, last = (_cell(scale, end) for end in (mark.effect.low, mark.effect.high))
        cells[first : last + 1] = [_RANGE] * (last + 1 - first)
    for mark in marks:  # behind no other's interval
        cells[_cell(scale, mark.effect.value)] = _CLEAR if mark.is_clear else _UNCLEAR
    return "".join(cells)


def bar_head() -> str:
    """What the two sides of a bar mean."""
    left, right = "◀ narrower", "wider ▶"
    return f"{left}{' ' * (BAR - len(left) - len(right))}{right}"


def _cell(scale: Scale, value: float) -> int:
    return min(BAR - 1, int(scale.place(value) / 100 * BAR))
