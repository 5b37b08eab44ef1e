"""Ranks from pairwise tests: their meaning, and what they hold."""

from __future__ import annotations

import numpy as np
import pytest

from tofu_eval.analysis import paired_difference, rank_models, significantly_better
from tofu_eval.analysis.ranks import chain


def by_prompt(row: np.ndarray) -> dict[str, float | None]:
    return {f"p{i}": None if np.isnan(v) else float(v) for i, v in enumerate(row)}


def test_a_rank_counts_who_is_better_directly_or_through_a_chain() -> None:
    better = np.zeros((4, 4), dtype=bool)
    better[0, 1] = better[1, 2] = True  # 0 beats 2 through 1; 3 differs from nobody
    above = chain(better)
    assert above[0].tolist() == [False, True, True, False]
    assert above.sum() == 3


def test_ranks_and_their_ranges() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=60)
    levels = {"high": 3.0, "alike": 3.02, "middle": 1.5, "low": 0.0}
    values = {
        name: by_prompt(hard + level + 0.3 * rng.normal(size=60)) for name, level in levels.items()
    }
    found = rank_models(values, higher=True)
    assert {name: (r.rank, r.last) for name, r in found.items()} == {
        "high": (1, 2),
        "alike": (1, 2),
        "middle": (3, 3),
        "low": (4, 4),
    }
    assert [(r.better_than, r.worse_than) for r in found.values()] == [
        (2, 0),
        (2, 0),
        (1, 2),
        (0, 3),
    ]
    turned = rank_models(values, higher=False)
    assert [r.rank for r in turned.values()] == [3, 3, 2, 1]


def test_nothing_to_rank() -> None:
    one = {"only": {"p0": 1.0}}
    assert rank_models(one, higher=True)["only"].rank == 1
    assert rank_models({**one, "other": {"p0": 2.0}}, higher=True) == {}
    apart = {"a": {"p0": 1.0, "p1": 2.0}, "b": {"q0": 1.0, "q1": 2.0}}
    assert rank_models(apart, higher=True) == {}


@pytest.mark.parametrize("higher", [True, False])
def test_two_models_are_ranked_as_compare_says(higher: bool) -> None:
    """Five-valued scores of 30 prompts, where ties once made the two decide otherwise."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        tables = rng.choice([0.2, 0.4, 0.6, 0.8, 1.0], size=(2, 30), p=[0.05, 0.05, 0.1, 0.2, 0.6])
        tables[1] = np.where(rng.random(30) < 0.3, 0.2, tables[1])
        a, b = (by_prompt(row) for row in tables)
        told = paired_difference(a, b, task="t")
        better, was_tested = significantly_better([a, b], higher=higher, task="t")
        tested = bool(was_tested.any())
        assert tested
        assert better.any() == (told.p_value < 0.05)


@pytest.mark.slow
def test_no_model_stands_before_one_that_beats_it_and_the_family_holds() -> None:
    """200 boards of 8 models, 40 prompts; in half of them nobody differs."""
    rng, false = np.random.default_rng(2), 0
    for study in range(200):
        level = np.zeros(8) if study % 2 else rng.normal(0, 0.4, 8)
        table = level[:, None] + rng.normal(size=(1, 40)) + 0.7 * rng.standard_exponential((8, 40))
        table[rng.random((8, 40)) < 0.05] = np.nan
        columns = {f"m{i}": by_prompt(row) for i, row in enumerate(table)}
        task = f"task {study}"
        better, _ = significantly_better(list(columns.values()), higher=True, task=task)
        ranks = [rank.rank for rank in rank_models(columns, higher=True, task=task).values()]
        for winner, loser in zip(*np.nonzero(better), strict=True):
            assert ranks[winner] < ranks[loser]
        wrong = better & (level[:, None] <= level[None, :])
        false += bool(wrong.any())
    assert false <= 20  # binomial(200, 0.05): 1 in 300 is above
