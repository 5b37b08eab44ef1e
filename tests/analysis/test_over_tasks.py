from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.beats import share_of
from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.over_tasks import standings
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
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


def test_a_metric_that_no_model_has_is_no_error() -> None:
    """As when it is undefined everywhere."""
    got = standings(of(*[row(t, base=None, a=None) for t in ("t", "u")]))
    assert {(s.rank, s.ranked, s.missing) for s in got} == {(None, 0, ("t", "u"))}


def test_what_is_not_ranked() -> None:
    assert standings(of(row("t", base=3, a=2))) == ()  # one task
    assert standings(of(*[row(t, "none", base=3, a=2) for t in ("t", "u")])) == ()


def test_the_table_shows_it_in_80_columns() -> None:
    rows = (row("open-prompts", base=3, sft=2), row("lab", base=1, sft=None))
    console = Console(width=80, file=io.StringIO(), color_system=None)
    made = of(*rows)
    console.print(table(replace(made, over_tasks=standings(made))))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    start = lines.index("over tasks")
    assert lines[start : start + 5] == [
        "over tasks",
        "  model  mean rank  d_z to base  beats base  missing",
        "m",
        "  base   1.00 (1)",
        "  sft    2.00 (1)   +0.20        —           lab",
    ]
    assert max(map(len, lines)) <= 80


def scored(tasks: dict[str, dict[str, list[float | None]]], metric: str = "m") -> pa.Table:
    rows = [
        Score(model, task, f"p{i}", metric, value, None if value is not None else "none", 4)
        for task, models in tasks.items()
        for model, values in models.items()
        for i, value in enumerate(values)
    ]
    return to_table(rows, SCORE_SCHEMA)


def compared(tasks: dict[str, dict[str, list[float | None]]], direction: str = "higher") -> Any:
    found = compare(scored(tasks), "base", metrics={"m": direction})
    return {standing.model: standing for standing in found.over_tasks}, found


def test_who_beats_whom_by_hand() -> None:
    # On t sft wins 6 of 8, loses 1 and ties 1; on u it wins all 8.
    base = [1.0] * 8
    tasks = {
        "t": {"base": base, "sft": [2.0] * 6 + [0.0, 1.0]},
        "u": {"base": base, "sft": [2.0, 3.0] * 4},
    }
    got, found = compared(tasks)
    cells = [row.cells[1] for row in found.rows]
    assert [cell.beats.value for cell in cells] == [6.5 / 8, 1.0]
    assert got["sft"].beats == pytest.approx((6.5 / 8 + 1) / 2)
    # All won is no proof that all would be: the score interval of 8 of 8, with Student's quantile.
    t = 2.364624
    assert cells[1].beats.high == 1.0
    assert cells[1].beats.low == pytest.approx(8 / (8 + t * t), abs=1e-4)
    assert got["base"].beats is None
    lower, _ = compared(tasks, "lower")
    assert lower["sft"].beats == pytest.approx(1 - (6.5 / 8 + 1) / 2)


def test_intervals_of_ranks_say_what_is_not_sure() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 40)
    tasks = {
        task: {
            "base": list(hard + rng.normal(0, 0.1, 40)),
            "same": list(hard + rng.normal(0, 0.1, 40)),
            "poor": list(hard - 1 + rng.normal(0, 0.1, 40)),
        }
        for task in ("t", "u")
    }
    got, _ = compared(tasks)
    assert (got["poor"].rank_low, got["poor"].rank_high) == (3.0, 3.0)
    assert got["same"].rank_low < got["same"].rank_high == 2.0
    poor = got["poor"]
    assert poor.effect_low < poor.effect < poor.effect_high < 0


def test_clusters_widen_who_beats_whom() -> None:
    won = {f"p{i}": float(i % 10 < 6) for i in range(40)}
    plain = share_of(won)
    wide = share_of(won, {id: str(int(id[1:]) % 10) for id in won})
    assert wide.value == plain.value == pytest.approx(0.6)
    assert wide.units == 10
    assert wide.high - wide.low > 1.5 * (plain.high - plain.low)
    assert 0 <= wide.low < wide.high <= 1
    assert share_of({}).value is None
    assert share_of({"p": 1.0}).low is None


@pytest.mark.slow
@pytest.mark.parametrize(("chance", "ties"), [(0.5, 0.0), (0.8, 0.5), (0.95, 0.0)])
def test_intervals_over_tasks_hold_95(chance: float, ties: float) -> None:
    """2,000 studies: shares of 30 prompts, and mean d_z of two tasks of 30 prompts."""
    rng = np.random.default_rng(1)
    held = effects = 0
    for _ in range(2000):
        won = np.where(rng.random(30) < ties, 0.5, (rng.random(30) < chance).astype(float))
        share = share_of(dict(enumerate(won.tolist())))
        true = ties / 2 + (1 - ties) * chance
        held += share.low <= true <= share.high
    for _ in range(100):
        tasks = {
            task: {"base": [0.0] * 30, "sft": rng.normal(chance, 1, 30).tolist()}
            for task in ("t", "u")
        }
        got, _ = compared(tasks)
        effects += got["sft"].effect_low <= chance <= got["sft"].effect_high
    assert held / 2000 > 0.93
    assert effects >= 88
