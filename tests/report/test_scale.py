"""The line that all differences are drawn on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf, log

import pytest

from tofu_eval.analysis import paired_difference
from tofu_eval.analysis.direction import Effect, oriented_effect
from tofu_eval.report.scale import Scale


def test_an_effect_is_the_mean_in_deviations_of_the_differences() -> None:
    a = dict(enumerate([1.0, 3.0, 5.0, 7.0]))
    found = paired_difference(a, dict.fromkeys(a, 0.0))
    effect = oriented_effect("higher", found)
    # Mean 4, standard deviation sqrt(20 / 3) = 2.582.
    assert effect is not None
    assert effect.value == pytest.approx(4 / (20 / 3) ** 0.5)
    assert effect.value == pytest.approx(found.effect)
    assert effect.high - effect.low == pytest.approx((found.high - found.low) / (20 / 3) ** 0.5)
    turned = oriented_effect("lower", found)
    assert turned == Effect(-effect.value, -effect.high, -effect.low)


def test_an_effect_without_a_scale() -> None:
    even = paired_difference({1: 3.0, 2: 3.0, 3: 3.0}, {1: 1.0, 2: 1.0, 3: 1.0})
    assert oriented_effect("higher", even) == Effect(inf, inf, inf)
    assert oriented_effect("lower", even) == Effect(-inf, -inf, -inf)
    assert oriented_effect("none", even) is None
    assert oriented_effect("higher", None) is None
    nothing = paired_difference({1: 3.0, 2: 3.0}, {1: 3.0, 2: 3.0})
    assert oriented_effect("lower", nothing) == Effect(0, 0, 0)
    one = paired_difference({1: 3.0}, {1: 1.0})
    assert oriented_effect("higher", one) is None  # no interval
    assert oriented_effect("higher", replace(even, sd=None)) is None  # of a whole corpus


def test_left_is_narrower_and_all_is_to_be_seen() -> None:
    scale = Scale.of([Effect(-2, -3, -1), None, Effect(0.1, 0, 0.2), Effect(inf, inf, inf)])
    assert scale.end == 3
    assert scale.place(0) == 50
    assert scale.place(-3) == pytest.approx(3)
    assert scale.place(inf) == scale.place(3) == pytest.approx(97)
    assert scale.place(1) == pytest.approx(50 + 47 * log(2) / log(4))
    assert scale.place(1) + scale.place(-1) == 100


@pytest.mark.parametrize("end", [0.5, 0.8, 1, 3, 7, 25, 400])
def test_labels_stand_apart(end: float) -> None:
    ticks = Scale(end).ticks()
    assert ticks[len(ticks) // 2] == (50, "0")
    assert len(ticks) >= 3
    assert all(after - before >= 10 for (before, _), (after, _) in pairwise(ticks))
