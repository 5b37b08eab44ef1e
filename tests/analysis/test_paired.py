from __future__ import annotations

import itertools
from fractions import Fraction
from math import copysign, fsum

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.analysis import holm, mean_interval, paired_difference, paired_differences
from tofu_eval.analysis.paired import sign_flips
from tofu_eval.core.errors import DataError

FINITE = st.floats(-1e6, 1e6)


def test_the_difference_pairs_by_id_and_drops_what_lacks_a_partner() -> None:
    a = {"x": 3.0, "y": 5.0, "z": None, "only-a": 100.0}
    b = {"y": 4.0, "only-b": -100.0, "z": 1.0, "x": 1.0}
    got = paired_difference(a, b, seed=0)
    assert (got.value, got.n, got.dropped, got.higher) == (1.5, 2, 3, 1.0)
    assert got.low < 1.0 < 2.0 < got.high


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefghij"), st.tuples(FINITE, FINITE), min_size=1),
    st.randoms(),
)
def test_the_difference_forgets_the_order_and_turns_with_the_sides(pairs, random) -> None:
    a = {id: pair[0] for id, pair in pairs.items()}
    b = {id: pair[1] for id, pair in pairs.items()}
    got = paired_difference(a, b, seed=5, resamples=49)
    shuffled = {id: b[id] for id in random.sample(sorted(b), len(b))}
    assert paired_difference(a, shuffled, seed=5, resamples=49) == got
    assert paired_difference(b, a, seed=5, resamples=49).value == pytest.approx(-got.value)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {}, (None, None, None, 0, 0, None, None)),
        ({"p": 1.0}, {"q": 1.0}, (None, None, None, 0, 2, None, None)),
        ({"p": 1.0}, {"p": 0.5}, (0.5, None, None, 1, 0, None, 1.0)),
        ({"p": 1.0, "q": 2.0}, {"p": 1.0, "q": 2.0}, (0.0, 0.0, 0.0, 2, 0, 1.0, 0.0)),
    ],
)
def test_the_difference_of_few_or_equal_values(a, b, expected) -> None:
    got = paired_difference(a, b, seed=0)
    assert (
        got.value, got.low, got.high, got.n, got.dropped, got.p_value, got.higher
    ) == expected  # fmt: skip


def enumerated(differences: list[int]) -> float:
    """The two-sided sign-flip p-value over all 2ⁿ ways; ties by the sum of signed roots."""

    def statistic(signs: tuple[int, ...]) -> tuple[int, float]:
        pairs = list(zip(signs, differences, strict=True))
        roots = fsum(s * copysign(abs(d) ** 0.5, d) for s, d in pairs)
        return sum(s * d for s, d in pairs), round(roots, 9)

    sums = [statistic(signs) for signs in itertools.product((1, -1), repeat=len(differences))]
    above = sum(s >= sums[0] for s in sums)
    below = sum(s <= sums[0] for s in sums)
    return float(min(Fraction(2 * min(above, below), len(sums)), Fraction(1)))


@pytest.mark.parametrize(
    "differences",
    [[1, 2, 3], [3, -1], [5, 4, -2, 7, 1, 3], [0, 0, 2, 2, 2, -1], [1] * 10, [-4, -1, -2, 3, -6]],
)
def test_the_p_value_of_few_prompts_is_exact(differences: list[int]) -> None:
    a = {str(i): float(d) for i, d in enumerate(differences)}
    got = paired_difference(a, dict.fromkeys(a, 0.0), seed=0)
    assert got.p_value == pytest.approx(enumerated(differences), rel=1e-12)


def test_the_p_value_of_many_prompts_is_close_to_exact() -> None:
    differences = [5, -3, 4, 4, -1, 2, 6, -2, 1, -4, 3, 2, -1, 5, -2]
    a = {str(i): float(d) for i, d in enumerate(differences)}
    got = paired_difference(a, dict.fromkeys(a, 0.0), seed=0)
    assert got.p_value == pytest.approx(enumerated(differences), abs=0.015)


@pytest.mark.parametrize("shape", ["normal", "skewed", "tied"])
def test_without_an_effect_4_to_6_of_100_p_values_are_below_5_percent(shape: str) -> None:
    rng, size = np.random.default_rng(1), (6000, 60)
    draw = {
        "normal": lambda: rng.normal(size=size),
        "skewed": lambda: rng.exponential(size=size),
        "tied": lambda: rng.choice([0.2, 0.6, 0.8, 1.0], p=[0.1, 0.1, 0.2, 0.6], size=size),
    }[shape]
    columns = list(np.sort(draw() - draw(), axis=1))
    found = sign_flips(columns, seed=0, resamples=999)
    assert 0.04 <= np.mean(np.array(found) < 0.05) <= 0.06


def test_fishers_worked_example() -> None:
    # Darwin's maize, crossed less self-fertilised, in eighths of an inch: The Design of
    # Experiments, sections 17 and 21. Of the 32,768 flips 835 sum to more than 314, and 28 to just
    # that: with all of them P = 5.267 per cent. Ours tells the 28 apart by their roots.
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    (p,) = sign_flips([np.sort(np.array(maize, dtype=float))], seed=0, resamples=2**15)
    sums = 2 * np.array(list(itertools.product((0, 1), repeat=15))) @ maize - sum(maize)
    assert (np.sum(sums > 314), np.sum(sums >= 314)) == (835, 863)
    assert p == enumerated(maize)
    assert 2 * 835 / 2**15 < p < 2 * 863 / 2**15
    assert round(100 * 2 * 863 / 2**15, 3) == 5.267
    (close,) = sign_flips([np.sort(np.array(maize, dtype=float))], seed=0)
    assert close == pytest.approx(p, abs=0.01)


def test_the_p_value_is_scipys() -> None:
    few = np.sort(np.random.default_rng(2).normal(0.4, 1, size=10))
    expected = scipy.stats.permutation_test((few,), np.mean, permutation_type="samples").pvalue
    assert sign_flips([few], seed=0) == [pytest.approx(expected, rel=1e-12)]
    many = np.sort(np.random.default_rng(3).normal(0.2, 1, size=60))
    sampled = scipy.stats.permutation_test(
        (many,), np.mean, permutation_type="samples", n_resamples=99_999, batch=5000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert sign_flips([many], seed=0, resamples=99_999) == [pytest.approx(sampled, abs=0.005)]


def test_what_else_is_compared_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    pairs = []
    for n in (5, 40, 300, 600):
        a = {f"p{i}": float(v) for i, v in enumerate(rng.normal(0.1, 1, size=n))}
        pairs.append((a, dict.fromkeys(a, 0.0)))
    together = paired_differences(pairs, seed=3)
    monkeypatch.setattr("tofu_eval.analysis.paired._COLUMNS", 2)
    assert paired_differences(pairs, seed=3) == together
    assert together == [paired_difference(*pair, seed=3) for pair in pairs]
    assert paired_difference(*pairs[1], seed=4).p_value != together[1].p_value


def test_the_effect_is_in_standard_deviations() -> None:
    a = {"p": 1.0, "q": 2.0, "r": 6.0}
    got = paired_difference(a, dict.fromkeys(a, 0.0), seed=0)
    assert got.sd == pytest.approx(7**0.5)  # ((3-1)^2 + (3-2)^2 + (3-6)^2) / 2
    assert got.effect == pytest.approx(3 / 7**0.5)
    assert got.kurtosis == pytest.approx(scipy.stats.kurtosis([1.0, 2.0, 6.0]))
    level = paired_difference(a, {id: value - 1 for id, value in a.items()}, seed=0)
    assert (level.effect, level.value, level.low) == (None, 1.0, 1.0)


def test_pairing_sees_what_two_separate_intervals_miss() -> None:
    prompts = {str(i): value for i, value in enumerate(np.linspace(0, 100, 60))}
    better = {id: value + 1 + 0.1 * (-1) ** int(id) for id, value in prompts.items()}
    got = paired_difference(better, prompts, seed=0)
    assert (got.value, got.low > 0.9, got.high < 1.1) == (pytest.approx(1), True, True)
    assert got.p_value == pytest.approx(2 / 10_000)  # the smallest that 9999 flips can give
    apart = [mean_interval(list(side.values()), seed=0) for side in (better, prompts)]
    assert apart[0].low < apart[1].high


def test_holm_by_hand() -> None:
    # 4 * 0.005 = 0.02, 3 * 0.01 = 0.03, 2 * 0.03 = 0.06, 1 * 0.04 is not below 0.06;
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [float("inf"), 1e308])
def test_too_large_a_value_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match=r"A score is too large to average: expected at most"):
        paired_difference({"p": bad}, {"p": bad}, seed=0)
