from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tofu_eval.analysis import (
    Components,
    Difference,
    Interval,
    Noise,
    crossed_power,
    detectable,
    power,
)
from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.sample_size import needs
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.report.power_text import needs_text


def versus(value: float, sd: float, n: int, low: float, high: float) -> Difference:
    return Difference(value, low, high, n, 0, 0.01, 0.5, value / sd, sd, p_adjusted=0.01, units=n)


def cell(model: str, difference: Difference | None, spread: Components | None = None) -> Cell:
    return Cell(model, Interval(1, 1, 1, 9, ""), 0, {}, difference, 0.01, spread)


def of(*cells: Cell, tests: int = 1, seeds: dict[str, tuple[str, ...]] | None = None) -> Comparison:
    base = cell("base", None)
    row = Row("t", "vendi", "higher", (base, *cells))
    models = ("base", *(c.model for c in cells))
    return Comparison("base", models, (row,), tests, seeds or {}, level=0.05 / tests)


def test_of_prompts() -> None:
    (got,) = needs(of(cell("sft", versus(-0.5, 1.0, 34, -0.8, -0.1))))
    assert (got.difference, got.clear, got.n, got.prompts) == (-0.5, True, 34, 34)
    assert got.now == pytest.approx(0.8077775, abs=1e-6)
    assert got.detectable == pytest.approx(0.5, abs=0.01)
    assert (got.seeds, got.alpha) == (None, 0.05)


def test_more_comparisons_need_more_prompts() -> None:
    one, many = (
        needs(of(cell("sft", versus(-0.5, 1.0, 34, -0.8, -0.1)), tests=tests))[0]
        for tests in (1, 20)
    )
    assert many.alpha == pytest.approx(0.0025)
    assert many.prompts > one.prompts
    assert many.now < one.now


def test_the_plan_holds() -> None:
    """Studies of as many prompts as told find the difference in 8 of 10."""
    rng = np.random.default_rng(0)
    pilot = rng.exponential(size=4000) - rng.exponential(size=4000) + 0.4
    rows = [
        Score(model, "t", str(i), "vendi", float(v), None, 10)
        for model, column in (("base", np.zeros(4000)), ("sft", pilot))
        for i, v in enumerate(column)
    ]
    (got,) = needs(compare(to_table(rows, SCORE_SCHEMA), "base", metrics={"vendi": "higher"}))
    size = (4000, got.prompts)
    found = rng.exponential(size=size) - rng.exponential(size=size) + pilot.mean()
    p = stats.ttest_1samp(found, 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)


def test_of_seeds() -> None:
    spread = Components(prompts=0.2, seeds=0.75, rest=0.05)
    seeds = {"tofu": ("a", "b", "c")}
    (got,) = needs(of(cell("tofu", versus(4.0, 2, 40, 0.1, 3), spread), seeds=seeds))
    assert got.prompts is None  # what the seeds leave is too much for t of two degrees
    assert crossed_power(spread, 4.0, prompts=40, seeds=3, alpha=0.05) == got.now < 0.8
    enough = spread.scaled(1, got.seeds / 3)
    assert crossed_power(enough, 4.0, prompts=40, seeds=got.seeds, alpha=0.05) >= 0.8
    fewer = spread.scaled(1, (got.seeds - 1) / 3)
    assert crossed_power(fewer, 4.0, prompts=40, seeds=got.seeds - 1, alpha=0.05) < 0.8
    seen = crossed_power(spread, got.detectable, prompts=40, seeds=3, alpha=0.05)
    assert seen == pytest.approx(0.8, abs=1e-6)
    # Where prompts are what limits, no number of seeds does.
    few = Components(prompts=4.0, seeds=0.01, rest=0.01)
    (got,) = needs(of(cell("tofu", versus(4.0, 2, 40, 0.1, 3), few), seeds=seeds))
    assert got.seeds is None
    assert got.prompts > 40


def test_of_samples() -> None:
    # sd² = 1, of which 0.3 + 0.3 is drawn at 10 samples; d_z of 0.6 would be seen, 0.5 / sd is.
    comparison = of(cell("sft", versus(-0.5, 1.0, 24, -0.8, -0.1)))
    noise = {(m, "t", "vendi"): Noise(0.3, 10) for m in ("base", "sft")}
    (got,) = needs(comparison, noise)
    room = (0.5 / detectable(24)) ** 2 - 0.4
    assert (got.samples, got.knows_samples) == (int(np.ceil(10 * 0.6 / room)), True)
    assert power(24, 0.5 / (0.4 + 0.6 * 10 / got.samples) ** 0.5) >= 0.8
    assert power(24, 0.5 / (0.4 + 0.6 * 10 / (got.samples - 1)) ** 0.5) < 0.8
    assert "samples" in needs_text((got,))
    # Where prompts differ too much, no number of samples does.
    few = of(cell("sft", versus(-0.5, 1.0, 12, -0.8, -0.1)))
    (got,) = needs(few, noise)
    assert (got.samples, got.knows_samples) == (None, True)
    assert "no number" in needs_text((got,))
    assert not needs(comparison, {("sft", "t", "vendi"): Noise(0.3, 10)})[0].knows_samples


def test_what_cannot_be_said() -> None:
    level = Difference(1.0, 1.0, 1.0, 5, 0, 0.06, 1.0, None, 0.0)
    gone = Difference(None, None, None, 0, 5, None, None)
    for one in (level, gone):
        (got,) = needs(of(cell("sft", one)))
        assert (got.now, got.detectable, got.prompts, got.seeds) == (None,) * 4
        assert "—" in needs_text((got,))


def test_the_table_fits_in_80_columns() -> None:
    found = needs(of(
        cell("qwen-2.5-instruct", versus(-0.5, 1.0, 60, -0.8, -0.1)),
        cell("tofu", versus(0.0001, 1.0, 60, -0.2, 0.2), Components(0.01, 0.02, 0.01)),
        seeds={"tofu": ("a", "b")},
    ))  # fmt: skip
    lines = needs_text(found).split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == [*("model", "difference", "power", "seen", "prompts", "seeds")]
    assert "-0.500**" in lines[3]
    assert lines[4].endswith("no number  no number")
    assert power(60, 0.5) == pytest.approx(found[0].now)
