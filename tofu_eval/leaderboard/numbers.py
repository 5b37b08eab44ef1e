"""Numbers as people read them: three digits, and marks where a difference is clear."""

from __future__ import annotations

from math import floor, log10

from tofu_eval.leaderboard.compare import Cell

ALPHA = 0.05
"""The share of false alarms, over a whole comparison, that a clear difference may have."""

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


def excludes_zero(cell: Cell) -> bool:
    """Whether the interval of the difference to the baseline lies on one side of 0."""
    found = cell.difference
    if found is None or found.low is None or found.high is None:
        return False
    return not found.low <= 0 <= found.high


def is_clear(cell: Cell) -> bool:
    """Whether the difference stands after Holm's adjustment too: the mark `**`."""
    return excludes_zero(cell) and cell.p_holm is not None and cell.p_holm < ALPHA
