"""Areas and frontiers, by hand and by properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.analysis.pareto import Floats, efficient, hypervolume, reached


def plane(*points: tuple[float, float]) -> tuple[Floats, Floats]:
    array = np.array(points, dtype=np.float64)
    return array[:, 0], array[:, 1]


@pytest.mark.parametrize(
    ("points", "reference", "area"),
    [
        ([(2, 3)], (0, 0), 6),  # one rectangle, 2 x 3
        ([(1, 3), (2, 2), (3, 1)], (0, 0), 6),  # a stair: 3 + 2 + 1
        ([(3, 1), (1, 3), (2, 2)], (0, 0), 6),  # in any order
        ([(1, 3), (2, 2), (3, 1), (1, 1)], (0, 0), 6),  # one beaten by all others
        ([(2, 2), (2, 2)], (0, 0), 4),  # the same twice
        ([(2, 1), (2, 3)], (0, 0), 6),  # the same quality
        ([(1, 2), (3, 2)], (0, 0), 6),  # the same diversity
        ([(4, 5)], (1, 3), 6),  # (4-1) x (5-3)
        ([(0, 5), (5, 0)], (1, 1), 0),  # each at or below the reference in one
        ([(0, 9), (3, 2)], (1, 1), 2),  # one left of the reference: (3-1) x (2-1)
        ([(-1, -4), (-2, -1)], (-3, -5), 2 * 1 + 1 * 3),  # negative numbers
    ],
)
def test_the_area_by_hand(
    points: list[tuple[float, float]], reference: tuple[float, float], area: float
) -> None:
    assert hypervolume(*plane(*points), reference) == pytest.approx(area, abs=1e-12)


def test_the_area_of_many_rows_at_once() -> None:
    quality = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    diversity = np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])
    assert hypervolume(quality, diversity, (0, 0)) == pytest.approx([6, 6])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 3), (2, 2), (3, 1)], [True, True, True]),
        ([(1, 3), (2, 2), (1, 1)], [True, True, False]),
        ([(2, 2), (2, 2)], [True, True]),  # neither beats the other
        ([(2, 2), (2, 3), (3, 3)], [False, False, True]),
        ([(0, 0)], [True]),
    ],
)
def test_efficient_points(points: list[tuple[float, float]], expected: list[bool]) -> None:
    assert efficient(*plane(*points)).tolist() == expected


def test_what_a_frontier_reaches() -> None:
    # Sampled at qualities 1, 2, 4 and 5; at 1 it is beaten: hotter still was no more diverse.
    points = plane((1, 6), (2, 8), (4, 4), (5, 0))
    at = np.array([0.9, 1.0, 1.5, 2.0, 3.0, 4.5, 5.0, 5.1])
    expected = [np.nan, 8, 8, 8, 6, 2, 0, np.nan]
    np.testing.assert_allclose(reached(*points, at), expected)


def test_many_frontiers_at_once_are_each_as_alone() -> None:
    rng = np.random.default_rng(0)
    quality, diversity = rng.normal(size=(2, 50, 6)).round(1)
    at = rng.normal(size=(50, 9)).round(1)
    together = reached(quality, diversity, at)
    for i in range(50):
        np.testing.assert_array_equal(together[i], reached(quality[i], diversity[i], at[i]))
        on = efficient(quality[i], diversity[i])
        np.testing.assert_array_equal(efficient(quality, diversity)[i], on)
        order = np.argsort(quality[i][on])
        expected = np.interp(at[i], quality[i][on][order], diversity[i][on][order])
        inside = (at[i] >= quality[i].min()) & (at[i] <= quality[i].max())
        np.testing.assert_allclose(together[i][inside], expected[inside], atol=1e-12)
        assert np.isnan(together[i][~inside]).all()


values = st.floats(-100, 100, allow_nan=False)
clouds = st.lists(st.tuples(values, values), min_size=1, max_size=7)


@settings(max_examples=200, deadline=None)
@given(clouds, st.tuples(values, values), st.randoms(use_true_random=False))
def test_properties_of_the_area(
    points: list[tuple[float, float]], reference: tuple[float, float], random: object
) -> None:
    quality, diversity = plane(*points)
    area = float(hypervolume(quality, diversity, reference))
    on = efficient(quality, diversity)
    close = pytest.approx(area, rel=1e-9, abs=1e-9)
    assert area >= 0
    assert hypervolume(quality[::-1], diversity[::-1], reference) == close
    assert hypervolume(diversity, quality, reference[::-1]) == close
    assert hypervolume(quality[on], diversity[on], reference) == close
    assert (
        area <= sum(max(q - reference[0], 0) * max(d - reference[1], 0) for q, d in points) + 1e-6
    )
    more = np.append(quality, quality.max() + 1), np.append(diversity, diversity.max() + 1)
    assert hypervolume(*more, reference) >= area - 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=6))
def test_the_area_counts_the_squares_below_it(points: list[tuple[int, int]]) -> None:
    squares = {(x, y) for q, d in points for x in range(q) for y in range(d)}
    assert hypervolume(*plane(*points), (0, 0)) == pytest.approx(len(squares))


@settings(max_examples=200, deadline=None)
@given(clouds)
def test_a_frontier_falls_and_lies_at_or_above_its_points(
    points: list[tuple[float, float]],
) -> None:
    quality, diversity = plane(*points)
    at = np.linspace(quality.min(), quality.max(), 25)
    line = reached(quality, diversity, at)
    assert np.diff(line).max(initial=0) <= 1e-9
    assert line.max() == pytest.approx(diversity.max())
    on = efficient(quality, diversity)
    assert reached(quality, diversity, quality[on]) == pytest.approx(diversity[on])
