from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tofu_eval.analysis import Column, detectable, power, prompts_needed, sign_flip_tests
from tofu_eval.core.errors import ConfigError


def test_published_sample_sizes() -> None:
    # R: power.t.test(delta = c, sd = 1, power = 0.8, type = "paired")$n is 33.36713 for c = 0.5
    # and 198.1513 for c = 0.2; with sig.level = 0.01, 50.12 for 0.5.
    assert [prompts_needed(effect) for effect in (0.5, -0.5, 0.2)] == [34, 34, 199]
    assert prompts_needed(0.5, alpha=0.01) == 51
    assert power(34, 0.5) == pytest.approx(0.8077775, abs=1e-6)


def test_power_at_no_effect_is_the_level() -> None:
    assert power(30, 0.0) == pytest.approx(0.05)
    assert power(30, 0.0, alpha=0.001) == pytest.approx(0.001)
    assert power(30, 100.0) == 1.0
    assert prompts_needed(0.0) is None
    assert prompts_needed(1e-9) is None


@pytest.mark.parametrize("n", [30, 1000])
def test_what_can_be_seen_is_seen(n: int) -> None:
    effect = detectable(n, target=0.8, alpha=0.01)
    assert power(n, effect, alpha=0.01) == pytest.approx(0.8, abs=0.001)
    assert prompts_needed(effect * 1.0001, alpha=0.01) == n
    assert detectable(1) is None


@pytest.mark.parametrize("kurtosis", [-2.0, -1.0, 0.0, 20.0])
@pytest.mark.parametrize("n", [8, 30, 1000, 100_000])
def test_it_rises_with_the_effect(n: int, kurtosis: float) -> None:
    powers = [power(n, away / n**0.5, kurtosis=kurtosis) for away in np.linspace(0, 40, 401)]
    assert np.all(np.isfinite(powers))
    assert np.all(np.diff(powers) > -1e-4)
    assert powers[-1] > 0.99 or n < 30
    assert 0.0 < powers[0] < 0.065


def test_few_prompts_have_the_power_of_the_exact_test() -> None:
    """Below six prompts nothing can be clear at 5%; above, as simulated studies say."""
    assert [power(n, 3.0) for n in (2, 4, 5)] == [0.0, 0.0, 0.0]
    assert detectable(5) is None
    assert power(8, 1.0, alpha=0.0025) == 0.0  # the smallest p of eight is 0.0078
    assert 0.05 < power(12, 1.0, alpha=0.0025) < power(12, 1.0, alpha=0.05) < 1
    # 400 studies each: seen .716 at 8 prompts and d_z = 2.8 / sqrt(8).
    assert power(8, 2.8 / 8**0.5) == pytest.approx(0.716, abs=0.08)
    assert prompts_needed(10.0) == 6


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.05), (30, 0.0), (30, 1.0)])
def test_out_of_range(n: int, alpha: float) -> None:
    with pytest.raises(ConfigError, match="Power needs n >= 2"):
        power(n, 0.5, alpha=alpha)


@pytest.mark.parametrize("shape", ["normal", "skewed", "tied"])
def test_the_sign_flip_test_has_the_power_that_is_told(shape: str) -> None:
    rng, n, effect = np.random.default_rng(6), 40, 0.4
    size = (2000, n)
    draw = {
        "normal": lambda: rng.normal(size=size),
        "skewed": lambda: rng.exponential(size=size),
        "tied": lambda: rng.choice([0.2, 0.6, 0.8, 1.0], p=[0.1, 0.1, 0.2, 0.6], size=size),
    }[shape]
    table = draw() - draw()
    table += effect * table.std()
    names = [f"p{i}" for i in range(n)]
    found = sign_flip_tests([Column(row, names) for row in table], flips=999).tests
    told = power(n, effect, kurtosis=float(scipy.stats.kurtosis(table, axis=None)))
    assert np.mean([test.p_value < 0.05 for test in found]) == pytest.approx(told, abs=0.03)


def test_long_tails_are_seen_more_easily_than_their_deviation_says() -> None:
    # Differences of two exponentials with half zeros: kurtosis 5. Of 10,000 studies of 30 prompts
    # at d_z = 2 / sqrt(30) the test found 53.7% (benchmarks/intervals.py).
    assert power(30, 2 / 30**0.5, kurtosis=5.0) == pytest.approx(0.537, abs=0.015)
    assert power(30, 2 / 30**0.5) < 0.50
    assert power(30, 0.0, kurtosis=5.0) == pytest.approx(0.05)
    assert 0 <= power(5, 3.0, kurtosis=-2.0) <= 1
