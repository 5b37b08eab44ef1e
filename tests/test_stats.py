from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.errors import DataError
from tofu_eval.stats import Interval, holm, mean_interval, paired_difference

FINITE = st.floats(-1e6, 1e6)


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    expected = scipy.stats.bootstrap(
        (np.sort(values),), np.mean, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    got = mean_interval(values, seed=7)
    assert got.value == pytest.approx(values.mean(), rel=1e-15)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_the_interval_of_a_coin_is_binomial() -> None:
    # A resample of ten ones and ten zeros has Binomial(20, 1/2) ones.
    # python -c "import scipy.stats as s; print(s.binom.ppf([0.025, 0.975], 20, 0.5) / 20)"
    got = mean_interval([0.0, 1.0] * 10, seed=0)
    assert (got.value, got.low, got.high) == pytest.approx((0.5, 0.3, 0.7))
    assert got.method == "mean, 95% percentile bootstrap over prompts, 9999 resamples"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None, 0)),
        ([None, float("nan")], (None, None, None, 0)),
        ([None, 0.1], (0.1, None, None, 1)),
        ([0.1, 0.1, 0.1, None], (0.1, 0.1, 0.1, 3)),  # sum([0.1] * 3) / 3 is not 0.1
        ([0.0, 1.0], (0.5, 0.0, 1.0, 2)),
    ],
)
def test_the_interval_of_few_or_equal_values(
    values: list[float | None], expected: tuple[float | None, ...]
) -> None:
    got = mean_interval(values, seed=0)
    assert (got.value, got.low, got.high, got.n) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(FINITE | st.none() | st.just(float("nan")), max_size=12), st.randoms())
def test_the_interval_holds_the_mean_and_forgets_the_order(values, random) -> None:
    got = mean_interval(values, seed=1, resamples=49)
    shuffled = random.sample(values, len(values))
    assert mean_interval(shuffled, seed=1, resamples=49) == got
    defined = [value for value in values if value is not None and value == value]
    assert got.n == len(defined)
    if len(defined) > 1:
        assert min(defined) <= got.low <= got.value <= got.high <= max(defined)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), 1e308])
def test_too_large_a_value_is_refused(bad: float) -> None:
    message = r"A score is too large to average: expected at most 1e\+150, got "
    with pytest.raises(DataError, match=message):
        mean_interval([bad, 1.0], seed=0)
    with pytest.raises(DataError, match=message):
        paired_difference({"p": bad}, {"p": bad}, seed=0)


def test_95_of_100_intervals_hold_the_truth() -> None:
    # docs/statistics.md: 0.94 of the studies of 60 normal values; the standard error of 600
    # studies is 0.01. An interval of 90% or of 99% would fail.
    rng = np.random.default_rng(0)
    studies = [mean_interval(rng.normal(size=60), seed=i, resamples=499) for i in range(600)]
    assert 0.905 <= np.mean([study.low <= 0 <= study.high for study in studies]) <= 0.965


def test_the_difference_pairs_by_id_and_drops_what_lacks_a_partner() -> None:
    a = {"x": 3.0, "y": 5.0, "z": None, "only-a": 100.0}
    b = {"y": 4.0, "only-b": -100.0, "z": 1.0, "x": 1.0}
    got = paired_difference(a, b, seed=0)
    assert (got.value, got.n, got.dropped, got.higher) == (1.5, 2, 3, 1.0)
    assert (got.low, got.high) == (1.0, 2.0)


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
    """The two-sided sign-flip p-value over all 2ⁿ ways, in whole numbers."""
    sums = [
        sum(sign * d for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    above = sum(s >= sum(differences) for s in sums)
    below = sum(s <= sum(differences) for s in sums)
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


def test_without_an_effect_5_of_100_p_values_are_below_5_percent() -> None:
    rng = np.random.default_rng(1)
    below = 0
    for study in range(300):
        a = {str(i): value for i, value in enumerate(rng.normal(size=20))}
        b = {str(i): value for i, value in enumerate(rng.normal(size=20))}
        below += paired_difference(a, b, seed=study, resamples=199).p_value < 0.05
    assert 0.02 <= below / 300 <= 0.085


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


def test_an_interval_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Interval(1.0, 0.0, 2.0, 3, "").value = 2.0  # type: ignore[misc]
