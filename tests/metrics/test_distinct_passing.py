"""Different responses that pass among a fixed number of draws, by hand and over all subsets."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tofu_eval as te
from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics import find
from tofu_eval.metrics.distinct_passing import (
    distinct_passing,
    distinct_passing_at,
    distinct_passing_pairs,
)

PASSING = [1, 1, 0, 1, 1, 0], [1.0, 1.0, 1.0, 0.0, math.nan, 0.0]
"""Of six responses three pass: two of class 1 and one of class 0."""


def test_distinct_passing_by_hand() -> None:
    assert distinct_passing(*PASSING) == 2.0
    # Of 15 pairs, class 1 is missed by C(4, 2) = 6, class 0 by C(5, 2) = 10: 9/15 + 5/15.
    assert distinct_passing_at(*PASSING, k=2) == pytest.approx(14 / 15)
    assert distinct_passing_at(*PASSING, k=5) == pytest.approx(1 + 5 / 6)
    # Two pairs of the 15 pass and differ.
    assert distinct_passing_pairs(*PASSING) == pytest.approx(2 / 15)
    assert distinct_passing([0, 1], [0.0, 0.0]) == distinct_passing_pairs([0, 1], [0, 0]) == 0.0
    assert distinct_passing_pairs([0, 1, 2], [1, 1, 1]) == 1.0


def test_distinct_passing_undefined() -> None:
    # What does not pass need not be decided; what passes must.
    assert distinct_passing([-1, 0, 0], [0, 1, 1]) == 1.0
    with pytest.raises(MetricInputError, match="equivalence of 1 of 2"):
        distinct_passing([-1, 0, 0], [1, 1, 0])
    with pytest.raises(MetricInputError, match="6 responses, fewer than k = 10"):
        find("distinct_passing_at_10")(*PASSING)
    with pytest.raises(MetricInputError, match="3 classes for 2 verdicts"):
        distinct_passing([0, 1, 2], [1, 1])
    with pytest.raises(MetricInputError, match="fewer than two"):
        distinct_passing_pairs([0], [1])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0])), min_size=2, max_size=7)
)
def test_distinct_passing_at_k_is_the_mean_over_subsets(rows: list[tuple[int, float]]) -> None:
    labels, correct = zip(*rows, strict=True)
    made = find("distinct_passing")
    assert made.count_sensitive
    for k in range(2, len(rows) + 1):
        subsets = list(combinations(range(len(rows)), k))
        values = [made([labels[i] for i in s], [correct[i] for i in s]) for s in subsets]
        assert made.at_count(labels, correct, k=k) == pytest.approx(np.mean(values))
        pairs = [
            distinct_passing_pairs([labels[i] for i in s], [correct[i] for i in s]) for s in subsets
        ]
        assert distinct_passing_pairs(labels, correct) == pytest.approx(np.mean(pairs))


def test_unequal_numbers_are_compared_at_the_smaller() -> None:
    """Eight responses a prompt against the first four of them: the same model."""
    labels, correct = [0, 1, 0, 1, 0, 1, 0, 2], [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    groups = [
        te.Group(
            te.Prompt.of_text(f"p{i}", f"Prompt {i}"),
            tuple(f"answer {place}" for place in range(n)),
            model,
            features={"equivalence": np.array(labels[:n]), "correct": np.array(correct[:n])},
        )
        for i in range(8)
        for model, n in (("four", 4), ("eight", 8))
    ]
    names = ("distinct_passing", "distinct_passing_pairs")
    view = te.compare(te.score(groups, metrics=names), "four")
    cells = {row.metric: row.cells[1] for row in view.rows}
    found = cells["distinct_passing"]
    assert found.unequal
    assert (found.counts.least, found.counts.most, found.noise) == (4, 4, 0.0)
    # Classes 0 and 1 pass twice each of eight, class 2 once; of the first four both pass once.
    expected = 2 * (1 - math.comb(6, 4) / 70) + (1 - math.comb(7, 4) / 70)
    assert found.difference.value == pytest.approx(expected - 2)
    assert not cells["distinct_passing_pairs"].unequal
