from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tofu_eval.analysis import Components, crossed_difference, crossed_mean, crossed_power

HAND = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 3.0]])
"""Two seeds, three prompts. Residuals 0, ∓1/2, ±1/2, their squares' sum 1: MS_PS = 1 / 2."""


def test_by_hand() -> None:
    got = crossed_mean(HAND)
    assert got.value == 2.5
    # MS_PS / 6 = 1/12; var of the prompts' means / 3 = 1/4; var of the seeds' means / 2 = 1/4.
    parts = (got.components.prompts, got.components.seeds, got.components.rest)
    assert parts == pytest.approx((1 / 6, 1 / 6, 1 / 12))
    # python -c "from scipy.stats import t; print(t.ppf(.975, 2), t.ppf(.975, 1))"
    reach = (4.302652729749464**2 / 6 + 12.706204736174694**2 / 4) ** 0.5
    assert (got.low, got.high) == pytest.approx((2.5 - reach, 2.5 + reach))


def test_the_p_value_is_where_the_interval_reaches_0() -> None:
    table = np.random.default_rng(0).normal(0.1, 1, size=(4, 30))
    got = crossed_mean(table)
    for level, shifted in ((0.05, table - got.low), (0.05, table - got.high)):
        assert crossed_mean(shifted).p_value == pytest.approx(level, rel=1e-6)
    assert crossed_mean(table + 5).p_value < crossed_mean(table + 2).p_value < 0.05


def test_without_spread_of_seeds_it_is_a_t_test_over_prompts() -> None:
    row = np.random.default_rng(1).normal(size=25)
    got = crossed_mean(np.array([row, row, row]))
    t = scipy.stats.ttest_1samp(row, 0)
    assert (got.low, got.high) == pytest.approx(tuple(t.confidence_interval()), rel=1e-9)
    assert got.p_value == pytest.approx(t.pvalue, rel=1e-6)
    assert (got.components.dominates, got.components.share("prompts")) == ("prompts", 1.0)


def test_all_equal() -> None:
    got = crossed_mean(np.full((2, 3), 0.5))
    assert (got.value, got.low, got.high, got.p_value) == (0.5, 0.5, 0.5, 0.0)
    assert crossed_mean(np.zeros((2, 3))).p_value == 1.0
    assert got.components.share("seeds") == 0.0


@pytest.mark.parametrize(
    ("prompts", "seeds", "rest", "dominates"),
    [(1.0, 0.0, 0.1, "prompts"), (0.1, 2.0, 0.1, "seeds"), (0.0, 0.0, 5.0, "rest")],
)
def test_what_dominates(prompts: float, seeds: float, rest: float, dominates: str) -> None:
    rng = np.random.default_rng(2)
    table = (
        prompts * rng.normal(size=(1, 50))
        + seeds * rng.normal(size=(4, 1))
        + rest * rng.normal(size=(4, 50))
    )
    assert crossed_mean(table).components.dominates == dominates


def test_the_difference_of_a_series_to_one_model() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 1, size=(3, 40)), rng.normal(size=(1, 40))
    got, alone = crossed_difference(a, b), crossed_mean(a - b)
    assert got.value == pytest.approx(alone.value)
    assert (got.low, got.p_value) == pytest.approx((alone.low, alone.p_value))
    turned = crossed_difference(b, a)
    assert (turned.value, turned.low) == pytest.approx((-got.value, -got.high))


def test_the_seeds_of_both_sides_count() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(3, 40)) + rng.normal(size=(3, 1))
    b = rng.normal(size=(5, 40)) + rng.normal(size=(5, 1))
    both = crossed_difference(a, b).components.seeds
    apart = crossed_mean(a).components.seeds + crossed_mean(b).components.seeds
    assert both == pytest.approx(apart)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("between", [0.0, 0.1, 0.5])
def test_intervals_over_seeds_hold_the_truth(seeds: int, between: float) -> None:
    rng = np.random.default_rng(5)
    held = ignoring = 0
    for _ in range(1000):
        table = (
            rng.normal(size=(1, 60))
            + between * rng.normal(size=(seeds, 1))
            + rng.normal(size=(seeds, 60))
        )
        got = crossed_mean(table)
        held += got.low <= 0 <= got.high
        low, high = scipy.stats.t.interval(
            0.95, 59, table.mean(), scipy.stats.sem(table.mean(axis=0))
        )
        ignoring += low <= 0 <= high
    assert 0.94 <= held / 1000 <= 0.99
    if between == 0.5:  # what resampling the prompts alone would claim
        assert ignoring / 1000 < 0.85


@pytest.mark.parametrize(("seeds", "effect"), [(3, 2.5), (5, 0.8), (5, 1.2)])
def test_power_is_what_studies_find(seeds: int, effect: float) -> None:
    rng = np.random.default_rng(6)
    found = []
    for _ in range(2000):
        table = (
            effect
            + rng.normal(size=(1, 40))
            + 0.7 * rng.normal(size=(seeds, 1))
            + rng.normal(size=(seeds, 40))
        )
        found.append(crossed_mean(table).p_value < 0.05)
    parts = Components(1 / 40, 0.49 / seeds, 1 / 40 / seeds)
    told = crossed_power(parts, effect, prompts=40, seeds=seeds, alpha=0.05)
    assert 0.3 < told < 0.97
    assert np.mean(found) == pytest.approx(told, abs=0.03)


def test_power_without_variance() -> None:
    nothing = Components(0.0, 0.0, 0.0)
    assert crossed_power(nothing, 1.0, prompts=9, seeds=2, alpha=0.05) == 1.0
    assert crossed_power(nothing, 0.0, prompts=9, seeds=2, alpha=0.05) == 0.05
