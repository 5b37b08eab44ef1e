from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from math import copysign, fsum

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.analysis import Pair, mean_interval, paired_difference, paired_differences
from tofu_eval.analysis.paired import clear_signs, is_significant
from tofu_eval.core.errors import DataError

FINITE = st.floats(-1e6, 1e6)


def test_the_difference_pairs_by_id_and_drops_what_lacks_a_partner() -> None:
    a = {"x": 3.0, "y": 5.0, "z": None, "only-a": 100.0}
    b = {"y": 4.0, "only-b": -100.0, "z": 1.0, "x": 1.0}
    got = paired_difference(a, b)
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
    got = paired_difference(a, b)
    shuffled = {id: b[id] for id in random.sample(sorted(b), len(b))}
    assert paired_difference(a, shuffled) == got
    assert paired_difference(b, a).value == pytest.approx(-got.value)


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
    got = paired_difference(a, b)
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
    got = paired_difference(a, dict.fromkeys(a, 0.0))
    assert got.p_value == pytest.approx(enumerated(differences), rel=1e-12)


def test_the_p_value_of_many_prompts_is_close_to_exact() -> None:
    differences = [5, -3, 4, 4, -1, 2, 6, -2, 1, -4, 3, 2, -1, 5, -2]
    a = {str(i): float(d) for i, d in enumerate(differences)}
    got = paired_difference(a, dict.fromkeys(a, 0.0))
    assert got.p_value == pytest.approx(enumerated(differences), abs=0.015)


def test_what_else_is_compared_changes_no_digit_but_the_adjusted_ones() -> None:
    rng = np.random.default_rng(4)
    pairs = []
    for n in (5, 40, 300, 600):
        a = {f"p{i}": float(v) for i, v in enumerate(rng.normal(0.1, 1, size=n))}
        pairs.append(Pair(a, dict.fromkeys(a, 0.0), "task"))
    together, level = paired_differences(pairs)
    assert paired_differences(pairs) == (together, level)
    for pair, found in zip(pairs, together, strict=True):
        alone = paired_difference(pair.a, pair.b, task="task")
        assert replace(found, p_adjusted=None) == replace(alone, p_adjusted=None)
        assert found.p_adjusted >= found.p_value == alone.p_adjusted
    assert 0.0125 <= level < 0.05  # of four tests on the same prompts


def test_both_means_are_of_the_common_prompts() -> None:
    a, b = {"p": 1.0, "q": 3.0, "only-a": 9.0}, {"p": 0.0, "q": 1.0, "only-b": -9.0}
    got = paired_difference(a, b)
    assert (got.a_mean, got.b_mean, got.value) == (2.0, 0.5, 1.5)


def test_what_differs_by_rounding_does_not_differ() -> None:
    a = {f"p{i}": 1.0 for i in range(30)}
    got = paired_difference(a, dict.fromkeys(a, 1.0 - 2 ** (-53)))
    assert (got.value, got.p_value, got.lower) == (0.0, 1.0, 0.0)


def test_clusters_are_the_units() -> None:
    rng = np.random.default_rng(1)
    clusters = {f"{topic}-{i}": f"topic {topic}" for topic in range(12) for i in range(5)}
    effect = rng.normal(size=12)
    a = {id: effect[int(topic.split()[1])] + 0.1 * rng.normal() for id, topic in clusters.items()}
    plain = paired_difference(a, dict.fromkeys(a, 0.0))
    got = paired_difference(a, dict.fromkeys(a, 0.0), clusters=clusters)
    assert (got.n, got.units, plain.units) == (60, 12, 60)
    assert got.value == pytest.approx(plain.value)
    means = [np.mean([v for id, v in a.items() if clusters[id] == f"topic {t}"]) for t in range(12)]
    of_means = paired_difference(
        {f"topic {t}": float(m) for t, m in enumerate(means)},
        {f"topic {t}": 0.0 for t in range(12)},
    )
    assert (got.low, got.high) == pytest.approx((of_means.low, of_means.high))
    assert got.p_value == pytest.approx(of_means.p_value)
    assert got.high - got.low > 2 * (plain.high - plain.low)


def test_the_interval_for_equivalence_is_narrower() -> None:
    a = {str(i): float(v) for i, v in enumerate(np.random.default_rng(0).normal(size=40))}
    got = paired_difference(a, dict.fromkeys(a, 0.0))
    t = scipy.stats.ttest_1samp(list(a.values()), 0).confidence_interval(0.9)
    assert got.low < got.low_90 < got.high_90 < got.high
    assert (got.low_90, got.high_90) == pytest.approx((t.low, t.high), abs=0.03)


def test_the_effect_is_in_standard_deviations() -> None:
    a = {"p": 1.0, "q": 2.0, "r": 6.0}
    got = paired_difference(a, dict.fromkeys(a, 0.0))
    assert got.sd == pytest.approx(7**0.5)  # ((3-1)^2 + (3-2)^2 + (3-6)^2) / 2
    assert got.effect == pytest.approx(3 / 7**0.5)
    assert got.kurtosis == pytest.approx(scipy.stats.kurtosis([1.0, 2.0, 6.0]))
    level = paired_difference(a, {id: value - 1 for id, value in a.items()})
    assert (level.effect, level.value, level.low) == (None, 1.0, 1.0)


def test_pairing_sees_what_two_separate_intervals_miss() -> None:
    prompts = {str(i): value for i, value in enumerate(np.linspace(0, 100, 60))}
    better = {id: value + 1 + 0.1 * (-1) ** int(id) for id, value in prompts.items()}
    got = paired_difference(better, prompts)
    assert (got.value, got.low > 0.9, got.high < 1.1) == (pytest.approx(1), True, True)
    assert got.p_value == pytest.approx(1 / 10_000)  # the smallest that 9999 flips can give
    apart = [mean_interval(list(side.values())) for side in (better, prompts)]
    assert apart[0].low < apart[1].high


@pytest.mark.parametrize("bad", [float("inf"), 1e308])
def test_too_large_a_value_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match=r"A score is too large to average: expected at most"):
        paired_difference({"p": bad}, {"p": bad})


@pytest.mark.parametrize("clusters", [None, {i: f"c{i % 9}" for i in range(30)}])
def test_clear_signs_are_those_of_the_differences(clusters: dict[int, str] | None) -> None:
    draw = np.random.default_rng(5)
    base = dict(enumerate(draw.normal(0, 1, 30).tolist()))
    shifts = (0.0, 0.2, 0.5, -0.5, 1.5, -2.0)
    others = [
        {i: value + shift + draw.normal(0, 0.8) for i, value in base.items()} for shift in shifts
    ]
    pairs = [Pair(other, base, "t", clusters) for other in others]
    pairs += [Pair(base, base, "t", clusters), Pair({1: 2.0}, base, "t", clusters)]
    for alpha in (0.05, 0.2):
        differences, _ = paired_differences(pairs, alpha=alpha)
        expected = [
            None
            if one.p_adjusted is None
            else int(np.sign(one.value)) * is_significant(one, alpha=alpha)
            for one in differences
        ]
        assert clear_signs(pairs, alpha=alpha) == expected
        assert {None, -1, 0, 1} == {*expected}
