"""Classes over several models: the same answer is the same class, each model's count stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.report.shared_classes import join_classes, plain_text

PROMPT = Prompt.of_text("1", "Name a fruit.")


class Given:
    """Classes that are told; of texts of several models, those of a rule."""

    method = "judge"

    def __init__(self, by_model: dict[str, list[int]], rule: Any = None) -> None:
        self.by_model, self.rule = by_model, rule

    def of(self, group: Group) -> Any:
        if group.features.get("own"):
            return np.array(self.by_model[group.model])
        if self.rule is None:
            raise ModelError("a judge would have to be asked")
        labels = list(map(self.rule, group.texts))
        first = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        return np.array([first[label] for label in labels])


def groups(**texts: Sequence[str]) -> dict[str, Group]:
    return {
        model: Group(PROMPT, tuple(own), model, features={"own": [1] * len(own)})
        for model, own in texts.items()
    }


def test_classes_with_a_text_in_common_are_one() -> None:
    said = groups(base=["Kiwi.", "a fig", "plum"], sft=["kiwi", "the kiwi", "Plum!"])
    found = join_classes(said, Given({"base": [0, 1, 2], "sft": [0, 0, 1]}))
    assert found["base"][0] == found["sft"][0] == found["sft"][1] == 0  # the largest: three
    assert found["base"][2] == found["sft"][2]
    assert found["base"][1] not in found["sft"]


def test_the_run_s_method_joins_where_it_needs_no_model() -> None:
    said = groups(base=["red apple", "fig"], sft=["green apple", "plum"])
    told = Given({"base": [0, 1], "sft": [0, 1]}, rule=lambda text: text.split()[-1])
    found = join_classes(said, told)
    assert found["base"][0] == found["sft"][0]
    assert found["base"][1] != found["sft"][1]


def test_two_classes_of_a_model_stay_two() -> None:
    said = groups(base=["apple", "an apple"], sft=["apple", "apple"])
    told = Given({"base": [0, 1], "sft": [0, 0]}, rule=lambda text: "all")
    found = join_classes(said, told)
    assert len(set(found["base"])) == 2
    assert set(found["sft"]) < set(found["base"])


def test_what_a_judge_left_undecided_stays_so() -> None:
    said = groups(base=["apple", "fig"], sft=["apple", "fig"])
    found = join_classes(said, Given({"base": [-1, -1], "sft": [0, 1]}))
    assert found["base"] == [-1, -1]
    assert sorted(found["sft"]) == [0, 1]


def test_a_text_of_signs_alone_is_itself() -> None:
    assert plain_text("  The  Kiwi! ") == "the kiwi"
    assert plain_text("?!") == "?!"
    assert plain_text("日本") == "日本"
