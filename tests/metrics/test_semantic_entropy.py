"""Entropy over meanings and over tokens, by hand and against scipy."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import pytest
from scipy.stats import entropy

import tofu_eval as te
from tofu_eval.core.errors import MetricInputError
from tofu_eval.metrics import find
from tofu_eval.metrics.semantic_entropy import semantic_entropy_at

LABELS = [0, 1, 0, 2, 0]
LOGPROBS = [(-1.0, -3.0), (-0.5,), (-2.0, -2.0, -2.0), (-1.0, 0.0), (-4.0,)]


def test_each_meaning_as_probable_as_its_share() -> None:
    assert find("semantic_entropy")(LABELS) == pytest.approx(entropy([3, 1, 1]))
    assert find("semantic_entropy")([0, 0, 0]) == 0
    every = [entropy([[*some].count(c) for c in {*some}]) for some in combinations(LABELS, 3)]
    assert semantic_entropy_at(LABELS, k=3) == pytest.approx(sum(every) / len(every))


def test_each_meaning_as_probable_as_the_model_makes_it() -> None:
    weights = [math.exp(-2), math.exp(-0.5), math.exp(-2), math.exp(-0.5), math.exp(-4)]
    mass = [weights[0] + weights[2] + weights[4], weights[1], weights[3]]
    made = find("semantic_entropy_likelihood")
    assert made(LABELS, LOGPROBS) == pytest.approx(entropy(mass))
    even = made([0, 1, 2], [(-1.0,), (-1.0, -1.0), (-1.0,)])
    assert even == pytest.approx(math.log(3))
    with pytest.raises(MetricInputError, match="not decided"):
        made([-1] * 5, LOGPROBS)


def test_tokens() -> None:
    by_hand = (2 + 0.5 + 2 + 0.5 + 4) / 5
    assert find("token_entropy")(LOGPROBS) == pytest.approx(by_hand)
    assert find("branching_factor")(LOGPROBS) == pytest.approx(math.exp(by_hand))
    assert find("branching_factor")([(0.0, 0.0)] * 2) == 1
    # A model that draws one of four tokens, each as probable.
    assert find("branching_factor")([(math.log(0.25),) * 9] * 3) == pytest.approx(4)
    with pytest.raises(MetricInputError, match="without a token"):
        find("token_entropy")([(), ()])


def test_a_run_keeps_what_it_is_asked_to_keep(tiny_model: Path, tmp_path: Path) -> None:
    task = te.Task(
        "fruit",
        1,
        lambda: [te.Prompt.of_text("p", "Name a fruit.")],
        sampling=te.Sampling(samples=3, max_tokens=4),
    )
    names = ["branching_factor", "semantic_entropy_likelihood"]
    for kept in (True, False):
        made = te.evaluate(
            {"m": str(tiny_model)},
            [task],
            metrics=names,
            equivalence={"method": "exact"},
            token_logprobs=kept,
            output=tmp_path / str(kept),
        )
        rows = made.estimates.to_pylist()
        assert [row["value"] is not None for row in rows] == [kept, kept]
    (reason,) = {row["reason"] for row in made.scores.to_pylist()}
    assert reason.startswith("3 of 3 responses have no log-probabilities of their tokens")
