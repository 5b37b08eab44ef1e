"""The classes of a run, made again from its cache without the judge or the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.equivalence import Equivalence
from tofu_eval.features.recalled_equivalence import RecalledEquivalence
from tofu_eval.run.feature_cache import FeatureCache

TEXTS = ("a red fox", "one crimson fox", "a blue jay", "a red fox", "azure jays")


class SameAnimal:
    """A judge that knows foxes from jays; `word` is what it says where it is sure."""

    identity: Mapping[str, Any] = {"name": "animals"}
    signature = "animals"

    def __init__(self, word: str = "yes") -> None:
        self.word = word

    def __call__(self, questions: Sequence[str]) -> Sequence[str]:
        pairs = [question.split("Response A:")[1].split("Response B:") for question in questions]
        return [self.word if ("fox" in a) == ("fox" in b) else "no" for a, b in pairs]


def group(**features: Any) -> Group:
    return Group(Prompt.of_text("p", "An animal?"), TEXTS, features=features)


def labels(equivalence: Equivalence, one: Group, folder: Path) -> list[int]:
    (made,) = equivalence.compute([one], FeatureCache(folder))
    return [int(label) for label in made["equivalence"]]


def test_what_a_judge_said(tmp_path: Path) -> None:
    asked = Equivalence("judge", judge=SameAnimal())
    expected = labels(asked, group(), tmp_path)
    assert expected == [0, 0, 1, 0, 1]
    assert labels(RecalledEquivalence(asked.identity), group(), tmp_path) == expected


def test_what_a_judge_left_undecided(tmp_path: Path) -> None:
    asked = Equivalence("judge", judge=SameAnimal("perhaps"))
    expected = labels(asked, group(), tmp_path)
    assert set(expected) == {-1}
    assert labels(RecalledEquivalence(asked.identity), group(), tmp_path) == expected


def test_what_nobody_asked_yet(tmp_path: Path) -> None:
    asked = Equivalence("judge", judge=SameAnimal())
    with pytest.raises(ModelError, match="The run lacks 3 answers of its equivalence 'judge'"):
        labels(RecalledEquivalence(asked.identity), group(), tmp_path)


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_words_and_vectors_at_the_threshold_of_the_run(tmp_path: Path, threshold: float) -> None:
    vectors = np.eye(5)[[0, 0, 1, 0, 1]] + 0.1
    for method in ("word-overlap", "embedding"):
        made = Equivalence(method, threshold=threshold)
        one = group(embedding=vectors)
        recalled = RecalledEquivalence(made.identity)
        assert recalled.requires == made.requires
        assert labels(recalled, one, tmp_path) == labels(made, one, tmp_path)


def test_what_is_no_identity() -> None:
    with pytest.raises(KeyError):
        RecalledEquivalence({})
