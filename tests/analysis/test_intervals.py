from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.analysis import Interval, mean_interval, mean_intervals, within
from tofu_eval.core.errors import DataError

FINITE = st.floats(-1e6, 1e6)


def by_resampling(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The bootstrap-t interval as its definition says."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, size=(resamples, len(values)))
    t = (drawn.mean(axis=1) - values.mean()) / drawn.std(axis=1)
    return values.mean() - np.quantile(t, [0.975, 0.025]) * values.std()


@pytest.mark.parametrize("draw", ["normal", "exponential", "five values"])
def test_the_expansion_is_what_resampling_comes_to(draw: str) -> None:
    rng = np.random.default_rng(5)
    values = {
        "normal": rng.normal(size=200),
        "exponential": rng.exponential(size=200),
        "five values": rng.choice([0.2, 0.4, 0.6, 0.8, 1.0], p=[0.1, 0.1, 0.1, 0.2, 0.5], size=200),
    }[draw]
    got = mean_interval(values)
    ends = by_resampling(values, 40_000, 0)
    assert (got.low, got.high) == pytest.approx(ends, abs=0.012 * (ends[1] - ends[0]))
    # Student's interval, which knows no skewness, is further off where there is any.
    reach = scipy.stats.t.ppf(0.975, 199) * values.std(ddof=1) / np.sqrt(200)
    plain = np.abs(values.mean() + np.array([-reach, reach]) - ends).max() / (ends[1] - ends[0])
    assert plain > 0.02 or draw == "normal"


def test_the_formula() -> None:
    # Hall's polynomials written out again, with a derivative by difference.
    values = np.random.default_rng(0).gamma(2.0, size=50)
    n, z = 50, scipy.stats.norm.ppf(0.975)
    g, k = scipy.stats.skew(values), scipy.stats.kurtosis(values)

    def first(x: float) -> float:
        return g * (2 * x**2 + 1) / 6

    def second(x: float) -> float:
        return x * (k * (x**2 - 3) / 12 - g**2 * (x**4 + 2 * x**2 - 3) / 18 - (x**2 + 3) / 4)

    def quantile(x: float) -> float:
        slope = (first(x + 1e-6) - first(x - 1e-6)) / 2e-6
        cubic = first(x) * slope - x * first(x) ** 2 / 2 - second(x)
        return x - first(x) / n**0.5 + cubic / n

    # What Student's quantile has beyond the second term.
    student = scipy.stats.t.ppf(0.975, n - 1) * (n / (n - 1)) ** 0.5
    beyond = student - (z + z * (z**2 + 3) / 4 / n)
    assert abs(beyond) < 0.01
    scale = values.std() / n**0.5
    got = mean_interval(values)
    assert got.low == pytest.approx(values.mean() - (quantile(z) + beyond) * scale, rel=1e-9)
    assert got.high == pytest.approx(values.mean() - (quantile(-z) - beyond) * scale, rel=1e-9)


def test_symmetric_values_have_nearly_students_interval() -> None:
    values = [-3.0, -1.0, 0.0, 1.0, 3.0] * 8
    t = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    got = mean_interval(values)
    assert (got.low, got.high) == pytest.approx((t.low, t.high), rel=0.01)
    assert got.low == pytest.approx(-got.high)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None, 0)),
        ([None, float("nan")], (None, None, None, 0)),
        ([None, 0.1], (0.1, None, None, 1)),
        ([0.1, 0.1, 0.1, None], (0.1, 0.1, 0.1, 3)),  # sum([0.1] * 3) / 3 is not 0.1
    ],
)
def test_the_interval_of_few_or_equal_values(
    values: list[float | None], expected: tuple[float | None, ...]
) -> None:
    got = mean_interval(values)
    assert (got.value, got.low, got.high, got.n) == expected


def test_two_prompts_say_little() -> None:
    got = mean_interval([0.0, 1.0])
    assert got.value == 0.5
    assert got.low < -5
    assert got.high > 6


@settings(max_examples=80, deadline=None)
@given(st.lists(FINITE | st.none() | st.just(float("nan")), max_size=12), st.randoms())
def test_the_interval_holds_the_mean_and_forgets_the_order(values, random) -> None:
    got = mean_interval(values)
    assert mean_interval(random.sample(values, len(values))) == got
    defined = [value for value in values if value is not None and value == value]
    assert got.n == len(defined)
    if len(defined) > 1:
        assert got.low <= got.value <= got.high
        assert min(defined) <= got.value <= max(defined)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(-400, 300),
    st.integers(-60, 60),
    st.lists(st.integers(-99, 99), min_size=3, max_size=9),
)
def test_units_do_not_matter(power: int, shift: int, values: list[int]) -> None:
    plain = mean_interval([float(v) for v in values])
    scaled = mean_interval([(v + shift) * 2.0**power for v in values])
    factor = 2.0**power
    for one, other in (
        (plain.value, scaled.value), (plain.low, scaled.low), (plain.high, scaled.high)
    ):  # fmt: skip
        assert other == pytest.approx((one + shift) * factor, rel=1e-8, abs=1e-6 * factor)


def test_other_rows_and_gaps_change_no_digit() -> None:
    rng = np.random.default_rng(0)
    table = np.sort(rng.exponential(size=(40, 77)), axis=1)
    table[3, 60:] = np.nan
    table[4] = 0.25
    table[5] *= 1e100
    table[6] *= 1e-200
    together = mean_intervals(table)
    for row in range(len(table)):
        assert together[row] == mean_intervals(table[row : row + 1])[0] == mean_interval(table[row])
    assert (together[3].n, together[4].low) == (60, 0.25)


def test_the_level_decides() -> None:
    values = [float(v) for v in np.random.default_rng(3).exponential(size=40)]
    wide, narrow = mean_interval(values), mean_interval(values, level=0.9)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), 1e308])
def test_too_large_a_value_is_refused(bad: float) -> None:
    message = r"A score is too large to average: expected at most 1e\+150, got "
    with pytest.raises(DataError, match=message):
        mean_interval([bad, 1.0])
    with pytest.raises(DataError, match=message):
        mean_intervals(np.array([[0.0, 1.0], [1.0, bad]]))


def test_an_interval_stays_within_what_the_metric_can_be() -> None:
    wide = Interval(0.9, -0.2, 1.3, 20, "m")
    assert within(wide, ("0", "1")) == Interval(0.9, 0.0, 1.0, 20, "m")
    assert within(wide, ("1", "n")) == Interval(0.9, 0.9, 1.3, 20, "m")  # never past the value
    assert within(wide, ("-inf", "inf")) == within(wide, None) == wide
    assert within(Interval(0.9, None, None, 1, "m"), ("0", "1")).low is None


def test_an_interval_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Interval(1.0, 0.0, 2.0, 3, "").value = 2.0  # type: ignore[misc]


SHAPES = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    "log-normal": (lambda rng, size: np.exp(0.5 * rng.normal(size=size)), np.exp(0.125)),
    "tied": (
        lambda rng, size: rng.choice(
            [0.2, 0.4, 0.6, 0.8, 1.0], p=[0.05, 0.05, 0.1, 0.2, 0.6], size=size
        ),
        0.85,
    ),
}


@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("shape", SHAPES)
def test_94_to_96_of_100_intervals_hold_the_truth(shape: str, n: int) -> None:
    draw, truth = SHAPES[shape]
    found = mean_intervals(draw(np.random.default_rng(n), (20_000, n)))
    held = np.mean((found.low <= truth) & (truth <= found.high))
    assert 0.94 <= held <= 0.96


def test_students_interval_would_not_pass_that() -> None:
    table = SHAPES["tied"][0](np.random.default_rng(30), (20_000, 30))
    reach = scipy.stats.t.ppf(0.975, 29) * table.std(axis=1, ddof=1) / np.sqrt(30)
    assert np.mean(np.abs(table.mean(axis=1) - 0.85) <= reach) < 0.94
