"""The one test: what it is for one difference, and for a family of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from tofu_eval.analysis import Column, least_p_value, sign_flip_tests


def columns(table: np.ndarray) -> list[Column]:
    """A column a row of the table, all on the same prompts."""
    return [Column(row, [f"p{i}" for i in range(len(row))]) for row in table]


def p_of(values: list[float], **how: int) -> float:
    (test,) = sign_flip_tests(columns(np.array([values], dtype=float)), **how).tests
    assert test.adjusted == test.p_value
    return test.p_value


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjustment, what max-T stands in place of."""
    p = np.array(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted.tolist()


@pytest.mark.parametrize("shape", ["normal", "skewed", "tied"])
def test_without_an_effect_4_to_6_of_100_p_values_are_below_5_percent(shape: str) -> None:
    rng, size = np.random.default_rng(1), (6000, 60)
    draw = {
        "normal": lambda: rng.normal(size=size),
        "skewed": lambda: rng.exponential(size=size),
        "tied": lambda: rng.choice([0.2, 0.6, 0.8, 1.0], p=[0.1, 0.1, 0.2, 0.6], size=size),
    }[shape]
    found = sign_flip_tests(columns(draw() - draw()), flips=999)
    assert 0.04 <= np.mean([test.p_value < 0.05 for test in found.tests]) <= 0.06


def test_fishers_worked_example() -> None:
    # Darwin's maize, crossed less self-fertilised, in eighths of an inch: The Design of
    # Experiments, sections 17 and 21. Of the 32,768 flips 835 sum to more than 314, and 28 to just
    # that: with all of them P = 5.267 per cent. Ours tells the 28 apart by their roots.
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    sums = 2 * np.array(list(itertools.product((0, 1), repeat=15))) @ maize - sum(maize)
    assert (np.sum(sums > 314), np.sum(sums >= 314)) == (835, 863)
    assert round(100 * 2 * 863 / 2**15, 3) == 5.267
    assert p_of(maize) == pytest.approx(2 * 849 / 2**15, abs=0.006)


def test_the_p_value_is_scipys() -> None:
    few = np.random.default_rng(2).normal(0.4, 1, size=10)
    expected = scipy.stats.permutation_test((few,), np.mean, permutation_type="samples").pvalue
    assert p_of(few.tolist()) == pytest.approx(expected, rel=1e-12)
    many = np.random.default_rng(3).normal(0.2, 1, size=60)
    sampled = scipy.stats.permutation_test(
        (many,), np.mean, permutation_type="samples", n_resamples=99_999, batch=5000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert p_of(many.tolist(), flips=99_999) == pytest.approx(sampled, abs=0.005)


def test_the_floor_of_few_prompts() -> None:
    assert p_of([1.0, 2.0, 3.0, 4.0]) == least_p_value(4) == 0.125
    assert (least_p_value(1), least_p_value(6), least_p_value(100)) == (1.0, 1 / 32, 1 / 10_000)


def test_the_family_is_adjusted_by_its_largest_statistic() -> None:
    """Against the definition, on flips of every prompt."""
    table = np.random.default_rng(5).normal(0.5, 1, size=(4, 10))
    scaled = table / np.sqrt((table**2).sum(axis=1, keepdims=True))
    signs = np.array(list(itertools.product((1, -1), repeat=10)))
    drawn, seen = np.abs(signs @ scaled.T), np.abs(scaled.sum(axis=1))
    expected, least = np.empty(4), 0.0
    left = list(np.argsort(-seen))
    while left:
        least = max(least, float(np.mean(drawn[:, left].max(axis=1) >= seen[left[0]] - 1e-9)))
        expected[left.pop(0)] = least
    found = sign_flip_tests(columns(table)).tests
    assert [test.adjusted for test in found] == pytest.approx(expected.tolist(), abs=0.015)


def test_copies_of_a_difference_cost_nothing() -> None:
    values = np.random.default_rng(6).normal(0.4, 1, size=40)
    (alone,) = sign_flip_tests(columns(values[None])).tests
    copies = sign_flip_tests(columns(np.tile(values, (50, 1))))
    assert {test.adjusted for test in copies.tests} == {alone.p_value}
    assert copies.level == pytest.approx(0.05, abs=0.005)


def test_there_is_no_ceiling_to_how_many_can_be_compared() -> None:
    """With Holm, 9999 flips can never call one of 501 differences clear."""
    table = np.random.default_rng(7).normal(size=(501, 30))
    table[0] += 2.0
    found = sign_flip_tests(columns(table))
    assert found.tests[0].adjusted == 1 / 10_000
    assert holm([test.p_value for test in found.tests])[0] > 0.05
    assert 0.05 / 501 * 0.5 < found.level < 0.0005


def test_the_error_of_a_family_is_5_percent_and_its_power_holms_or_more() -> None:
    rng, false, ours, holms = np.random.default_rng(8), 0, 0, 0
    for study in range(300):
        shared, own = rng.normal(size=(1, 40)), rng.normal(size=(9, 40))
        table = 0.8 * shared + 0.6 * own
        named = [Column(row, [f"{study} p{i}" for i in range(40)]) for row in table]
        false += min(t.adjusted for t in sign_flip_tests(named, flips=499).tests) < 0.05
        moved = [Column(c.values + 0.5, c.units) for c in named]
        tests = sign_flip_tests(moved, flips=1999).tests
        ours += sum(t.adjusted < 0.05 for t in tests)
        holms += sum(p < 0.05 for p in holm([t.p_value for t in tests]))
    assert false <= 27  # binomial(300, 0.05): 1 in 1000 is above
    assert ours >= 0.98 * holms


def test_columns_on_other_prompts_and_too_few() -> None:
    rng = np.random.default_rng(9)
    one = Column(rng.normal(1, 1, 20), [f"a{i}" for i in range(20)])
    other = Column(rng.normal(1, 1, 30), [f"b{i}" for i in range(30)])
    none = Column(np.array([1.0]), ["a0"])
    tests = sign_flip_tests([one, none, other]).tests
    assert (tests[1].p_value, tests[1].adjusted) == (None, None)
    assert tests[0].p_value == sign_flip_tests([one]).tests[0].p_value
    assert sign_flip_tests([]).tests == ()
    assert sign_flip_tests([Column(np.zeros(5), list("abcde"))]).tests[0].p_value == 1.0
