from __future__ import annotations

import io

import pytest
from rich.console import Console

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.over_tasks import standings
from tofu_eval.report.comparison_text import table


def row(task: str, direction: str = "higher", metric: str = "m", **values: float | None) -> Row:
    cells = []
    for model, value in values.items():
        mean = Interval(value, value, value, 0 if value is None else 9, "by hand")
        effect = None if value is None else value / 10
        versus = Difference(value, value, value, 9, 0, 0.5, 0.5, effect, 1.0)
        cells.append(Cell(model, mean, 0, {}, None if model == "base" else versus, 0.5))
    return Row(task, metric, direction, tuple(cells))


def of(*rows: Row) -> Comparison:
    return Comparison("base", tuple(cell.model for cell in rows[0].cells), rows, 4)


def test_ranks_and_effects_are_means_over_tasks() -> None:
    got = {s.model: s for s in standings(of(
        row("t", base=3, a=2, b=1), row("u", base=1, a=2, b=3), row("v", base=5, a=4, b=4),
    ))}  # fmt: skip
    assert [got[m].rank for m in ("base", "a", "b")] == pytest.approx([5 / 3, 6.5 / 3, 6.5 / 3])
    assert got["a"].effect == pytest.approx((0.2 + 0.2 + 0.4) / 3)
    assert (got["base"].effect, got["base"].compared) == (None, 0)


def test_lower_can_be_first() -> None:
    got = {s.model: s.rank for s in standings(of(*[
        row(task, "lower", base=3.0, a=2.0) for task in ("t", "u")
    ]))}  # fmt: skip
    assert got == {"base": 2.0, "a": 1.0}


def test_missing_is_shown_and_not_imputed() -> None:
    rows = (row("t", base=3, a=2, b=1), row("u", base=1, a=None, b=3), row("v", base=5, a=4, b=3))
    got = {s.model: s for s in standings(of(*rows))}
    # On u nobody has a rank: those of two models do not compare with those of three.
    assert {(s.rank, s.ranked) for s in got.values()} == {(1.0, 2), (2.0, 2), (3.0, 2)}
    assert got["a"].missing == ("u",)
    assert (got["a"].effect, got["a"].compared) == (pytest.approx(0.3), 2)
    assert got["b"].compared == 3


def test_a_model_without_the_metric_stops_nobody() -> None:
    rows = (row("t", base=3, a=2, b=None), row("u", base=1, a=2, b=None))
    got = {s.model: s for s in standings(of(*rows))}
    assert (got["a"].rank, got["a"].ranked) == (1.5, 2)
    assert (got["b"].rank, got["b"].missing) == (None, ("t", "u"))


def test_what_is_not_ranked() -> None:
    assert standings(of(row("t", base=3, a=2))) == ()  # one task
    assert standings(of(*[row(t, "none", base=3, a=2) for t in ("t", "u")])) == ()


def test_the_table_shows_it_in_80_columns() -> None:
    rows = (row("open-prompts", base=3, sft=2), row("lab", base=1, sft=None))
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table(of(*rows)))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    start = lines.index("over tasks")
    assert lines[start : start + 5] == [
        "over tasks",
        "  model  mean rank  d_z to base  missing",
        "m",
        "  base    1.00 (1)",
        "  sft     2.00 (1)    +0.20 (1)  lab",
    ]
    assert max(map(len, lines)) <= 80
