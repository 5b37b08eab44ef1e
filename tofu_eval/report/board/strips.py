"""A value among those that it compares with, as a small drawing: mean, interval, ranks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tofu_eval.analysis.direction import sign_of_direction
from tofu_eval.leaderboard.board import Board, BoardRow
from tofu_eval.leaderboard.ranks import BlockKey, block_key

WIDTH, HEIGHT = 200, 26
_EDGE = 5.0


@dataclass(frozen=True, slots=True)
class Scale:
    """What the rows of one ranking span; `sign` turns the better end to the right."""

    low: float
    high: float
    sign: int
    ranked: int
    rows: int

    @classmethod
    def of(cls, rows: Sequence[BoardRow], sign: int) -> Scale:
        """Of the rows that compare."""
        ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
        low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
        return cls(low, high, sign, sum(row.rank is not None for row in rows), len(rows))

    def place(self, value: float) -> float:
        """Where a value stands, in points from the left."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return _EDGE + (WIDTH - 2 * _EDGE) * (1 - share if self.sign < 0 else share)


def scales_of(board: Board) -> dict[BlockKey, Scale]:
    """The scale of each ranking of a board."""
    blocks: dict[BlockKey, list[BoardRow]] = {}
    for row in board.rows:
        blocks.setdefault(block_key(row, board.metric_by_id[row.metric]), []).append(row)
    return {
        key: Scale.of(rows, sign_of_direction(board.metric_by_id[key[1]].direction))
        for key, rows in blocks.items()
    }


def strip_svg(row: BoardRow, scale: Scale) -> str:
    """The drawing of a row; empty where it has no value. It holds numbers only."""
    if row.value is None:
        return ""
    parts = [_rect("band", _EDGE, 7, WIDTH - 2 * _EDGE, 6)]
    if row.low is not None and row.high is not None:
        one, other = sorted((scale.place(row.low), scale.place(row.high)))
        parts.append(_rect("interval", one, 9, max(1.0, other - one), 2))
    parts.append(f'<circle class="mean" cx="{scale.place(row.value):.1f}" cy="10" r="4"/>')
    if row.rank is not None and row.rank_last is not None and scale.ranked > 1:
        step = (WIDTH - 2 * _EDGE) / scale.ranked
        left = _EDGE + (scale.ranked - row.rank_last) * step
        parts.append(_rect("track", _EDGE, 20, WIDTH - 2 * _EDGE, 4))
        parts.append(_rect("ranks", left, 20, (row.rank_last - row.rank + 1) * step, 4))
    return _svg("strip", parts)


def trail_svg(ranks: Sequence[tuple[int, int, int] | None]) -> str:
    """Ranks over versions: (rank, last rank, how many are ranked) each, None where there is none.

    The top is rank 1; empty with fewer than two versions.
    """
    if len(ranks) < 2:
        return ""
    step = min(18.0, (WIDTH / 2) / len(ranks))
    parts = []
    for i, one in enumerate(ranks):
        if one is None:
            continue
        rank, last, count = one
        unit = (HEIGHT - 4) / max(count, 1)
        parts.append(
            _rect("ranks", i * step, 2 + (rank - 1) * unit, step - 1, (last - rank + 1) * unit)
        )
    return _svg("trail", parts, width=round(step * len(ranks)))


def _rect(name: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        'rx="1"/>'
    )


def _svg(name: str, parts: Iterable[str], width: int = WIDTH) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'aria-hidden="true">{"".join(parts)}</svg>'
    )
