"""The line that all differences of a report are drawn on: narrower left, wider right.

Its unit is the standard deviation of the paired differences (d_z), so that metrics share it. It is
even on both sides of 0 and logarithmic away from it: 0.1 and 8 are both to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, log1p

from tofu_eval.analysis.direction import Effect

_MARGIN = 3.0
"""Percent of the width left free at each end."""

_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_APART = 12.0
"""Percent of the width between two labels at least."""

_LEAST_END = 0.5


@dataclass(frozen=True, slots=True)
class Scale:
    """Standard deviations as places on a line, in percent of its width; `end` is its last one."""

    end: float

    @classmethod
    def of(cls, effects: Iterable[Effect | None]) -> Scale:
        """A scale on which all of these can be seen whole."""
        ends = [max(abs(e.low), abs(e.high), abs(e.value)) for e in effects if e is not None]
        return cls(max([_LEAST_END, *filter(isfinite, ends)]))

    def place(self, value: float) -> float:
        """Where a number of standard deviations stands: 50 is no difference."""
        reach = min(1.0, log1p(abs(value)) / log1p(self.end)) * (50 - _MARGIN)
        return round(50 + (reach if value > 0 else -reach), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels: 0 and a few on both sides."""
        shown: list[float] = []
        last = 0.0
        for tick in reversed([tick for tick in _TICKS if tick <= self.end]):
            at = self.place(tick)
            if at - 50 >= _APART and (not shown or last - at >= _APART):
                shown.append(tick)
                last = at
        marks = sorted({0.0, *shown, *(-tick for tick in shown)})
        return [(self.place(mark), f"{mark:+g}" if mark else "0") for mark in marks]
