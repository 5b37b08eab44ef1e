from __future__ import annotations

import numpy as np
import pytest

from tofu_eval.analysis import mean_interval, pseudo_values


def test_of_a_mean_they_are_the_values() -> None:
    values = [1.0, 2.0, 6.0, 3.0]
    without = [(sum(values) - value) / 3 for value in values]
    assert pseudo_values(3.0, without) == pytest.approx(values)


def test_their_mean_is_the_whole() -> None:
    # A biased statistic: the largest of the values.
    values = [1.0, 2.0, 6.0, 3.0]
    without = [max(values[:i] + values[i + 1 :]) for i in range(4)]
    made = pseudo_values(6.0, without)
    assert np.mean(made) == pytest.approx(6.0)
    assert made == pytest.approx([3.75, 3.75, 12.75, 3.75])


def gini(values: np.ndarray) -> float:
    """Mean difference of two values: every text is both a candidate and a reference."""
    return float(np.abs(values[:, None] - values).sum() / (len(values) * (len(values) - 1)))


def test_intervals_of_what_compares_all_with_all_hold_the_truth() -> None:
    truth = 2 / np.sqrt(np.pi)  # of the standard normal
    rng = np.random.default_rng(0)
    held = own_rows_only = 0
    for _ in range(400):
        values = rng.normal(size=60)
        without = [gini(np.delete(values, np.s_[g::20])) for g in range(20)]
        got = mean_interval(pseudo_values(gini(values), without))
        held += got.low <= truth <= got.high
        rows = np.abs(values[:, None] - values).sum(axis=1) / 59
        naive = mean_interval(rows)
        own_rows_only += naive.low <= truth <= naive.high
    assert 0.92 <= held / 400 <= 0.98
    # The mean over texts of each one's distance to the others forgets that the others vary too.
    assert own_rows_only / 400 < 0.8
