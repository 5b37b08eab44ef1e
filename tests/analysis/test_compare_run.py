"""Several seeds of one method as one model of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tofu_eval.analysis import crossed_difference, crossed_mean
from tofu_eval.analysis.compare import compare
from tofu_eval.analysis.compare_run import seeds_together
from tofu_eval.analysis.comparison import Cell, Comparison
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score
from tofu_eval.report.comparison_text import render

MODELS: dict[str, dict[str, Any]] = {
    "base": {},
    **{f"ce-seed{i}": {"series": "ce", "seed": i} for i in range(3)},
    **{f"tofu-seed{i}": {"series": "tofu", "seed": i} for i in range(3)},
}


def study(spread: float = 1.0, prompts: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    level = rng.normal(size=prompts)
    return {
        model: 5 + level + spread * rng.normal() + 0.3 * rng.normal(size=prompts)
        - (1.0 if model.startswith("ce") else 0.0)
        for model in MODELS
    }  # fmt: skip


def compared(values: dict[str, np.ndarray], baseline: str = "base") -> Comparison:
    rows = [
        Score(model, "t", f"p{i:02}", "vendi", None if np.isnan(v) else float(v), None, 10)
        for model, column in values.items()
        for i, v in enumerate(column)
    ]
    return compare(
        to_table(rows, SCORE_SCHEMA), baseline, metrics={"vendi": "higher"},
        series=seeds_together(MODELS),
    )  # fmt: skip


def cell(comparison: Comparison, model: str) -> Cell:
    return comparison.rows[0].cells[comparison.models.index(model)]


def test_seeds_of_a_series_are_one_column() -> None:
    got = compared(study())
    assert got.models == ("base", "ce", "tofu")
    assert got.seeds == {
        name: tuple(f"{name}-seed{i}" for i in range(3)) for name in ("ce", "tofu")
    }
    assert got.tests == 2


def test_prompts_are_crossed_with_seeds() -> None:
    values = study()
    got = compared(values)
    ce = np.array([values[f"ce-seed{i}"] for i in range(3)])
    mean, versus = crossed_mean(ce), crossed_difference(ce, values["base"][None])
    found = cell(got, "ce")
    assert (found.mean.value, found.mean.low) == pytest.approx((mean.value, mean.low))
    assert found.mean.method == "mean, 95% interval over prompts crossed with 3 seeds"
    assert found.difference.value == pytest.approx(versus.value)
    assert (found.difference.low, found.difference.p_value) == pytest.approx(
        (versus.low, versus.p_value)
    )
    assert found.spread.dominates == "seeds"
    assert found.difference.n == 40


def test_a_series_can_be_the_baseline() -> None:
    values = study()
    got = compared(values, "ce")
    ce, tofu = (np.array([values[f"{n}-seed{i}"] for i in range(3)]) for n in ("ce", "tofu"))
    found = cell(got, "tofu").difference
    assert found.value == pytest.approx(crossed_difference(tofu, ce).value)
    assert cell(got, "base").difference.value == pytest.approx(
        float(np.mean(values["base"] - ce.mean(axis=0)))
    )
    assert cell(got, "base").spread is not None  # the baseline's seeds count there too


def test_a_prompt_that_one_seed_lacks_is_left_out() -> None:
    values = study()
    values["ce-seed1"][3] = np.nan
    found = cell(compared(values), "ce")
    assert (found.mean.n, found.undefined) == (39, 1)
    assert (found.difference.n, found.difference.dropped) == (39, 1)


def test_seeds_that_agree_leave_the_prompts() -> None:
    assert cell(compared(study(spread=0.0)), "tofu").spread.dominates != "seeds"


def test_the_report_says_what_dominates() -> None:
    text = render(compared(study()), "markdown")
    assert "ce is 3 seeds: its interval says what other prompts and other seeds would give." in text
    assert "Of the differences with seeds, 2 hang most on seeds (only more seeds would" in text


def test_columns() -> None:
    assert seeds_together(MODELS)["tofu"] == ("tofu-seed0", "tofu-seed1", "tofu-seed2")
    assert seeds_together({"a": {"series": "s", "seed": 0}}) == {"a": ("a",)}
    # Without a seed, a model is one temperature of a series, not a repetition.
    assert seeds_together({"a": {"series": "s"}, "b": {"series": "s"}}) == {
        "a": ("a",),
        "b": ("b",),
    }
    warm = {
        f"{t}-{i}": {"series": "s", "seed": i, "temperature": t} for t in (0.5, 1.0) for i in (0, 1)
    }
    assert seeds_together(warm) == {"s@T=0.5": ("0.5-0", "0.5-1"), "s@T=1": ("1.0-0", "1.0-1")}
    clash = {"s": {}, "x": {"series": "s", "seed": 0}, "y": {"series": "s", "seed": 1}}
    assert seeds_together(clash) == {"s": ("s",), "s (2 seeds)": ("x", "y")}
