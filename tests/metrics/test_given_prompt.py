"""Metrics given the prompt against hand calculations and the textbook's partial correlation."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import ClassVar

import numpy as np
import pytest

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Group, Message, Prompt
from tofu_eval.features.linkage import number_classes
from tofu_eval.metrics import find
from tofu_eval.metrics.given_prompt import (
    cosine_distance_given_prompt,
    fix_prompt_component,
    prompt_echo_rate,
    vendi_given_prompt,
)
from tofu_eval.pipeline.inputs import Inputs, split_prompt

RNG = np.random.default_rng(0)
PROMPT = [[0.0, 0.0, 2.0]]


def test_by_hand() -> None:
    # (.6, 0, .8) and (0, 1, 0) become (.6, 0, .3) and (0, 1, .3), of squared lengths .45, 1.09.
    rows = [[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]]
    cosine = 0.09 / np.sqrt(0.45 * 1.09)
    expected = 1 - cosine
    assert cosine_distance_given_prompt(rows, PROMPT) == pytest.approx(expected, abs=1e-12)
    # Eigenvalues of a 2 x 2 kernel with cosine c: (1 + c) / 2 and (1 - c) / 2.
    p = np.array([1 + cosine, 1 - cosine]) / 2
    vendi = np.exp(-(p @ np.log(p)))
    assert vendi_given_prompt(rows, PROMPT) == pytest.approx(vendi, abs=1e-12)


def test_component_0_is_the_partial_correlation() -> None:
    # r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)), of vectors without their means.
    rows = RNG.normal(size=(6, 12))
    rows -= rows.mean(axis=1, keepdims=True)
    prompt = RNG.normal(size=(1, 12))
    prompt -= prompt.mean()
    r = np.corrcoef(np.concatenate([rows, prompt]))
    partial = [
        (r[i, j] - r[i, 6] * r[j, 6]) / np.sqrt((1 - r[i, 6] ** 2) * (1 - r[j, 6] ** 2))
        for i, j in combinations(range(6), 2)
    ]
    value = cosine_distance_given_prompt(rows, prompt, component=0.0)
    assert value == pytest.approx(1 - np.mean(partial), abs=1e-12)


def test_all_have_the_same_component_along_the_mean_of_the_prompts_parts() -> None:
    rows, parts = RNG.normal(size=(5, 8)), RNG.normal(size=(3, 8))
    unit = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    centre = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
    given = fix_prompt_component(rows, parts)
    np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1.0)
    along = given @ centre
    away = np.linalg.norm(given - along[:, None] * centre, axis=1)
    before = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kept = np.linalg.norm(before - (before @ centre)[:, None] * centre, axis=1)
    np.testing.assert_allclose(along / away, 0.3 / kept)


def test_what_all_share_with_the_prompt_does_not_hide_how_they_differ() -> None:
    topic, ways = np.eye(9)[8] * 3, np.eye(9)[:8]
    apart, close = ways + topic, np.tile(ways[:1], (8, 1)) + topic + 0.1 * ways
    plain = [find("mean_pairwise_cosine_distance")(rows) for rows in (apart, close)]
    given = [cosine_distance_given_prompt(rows, topic[None]) for rows in (apart, close)]
    assert plain[0] < 0.11
    assert given[0] > 0.4
    assert given[0] - given[1] > 4 * (plain[0] - plain[1])


def test_a_response_that_repeats_the_prompt_is_left_out_and_counted() -> None:
    rows = np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    without = cosine_distance_given_prompt(rows[[0, 2]], PROMPT)
    assert cosine_distance_given_prompt(rows, PROMPT) == without
    assert prompt_echo_rate(rows, PROMPT) == 0.5
    for metric in (cosine_distance_given_prompt, vendi_given_prompt):
        with pytest.raises(MetricInputError, match=r"\(1, 2 more only repeat the prompt\)$"):
            metric(rows[1:], PROMPT)
    parts = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert prompt_echo_rate(rows, parts) == 0.75  # a part of a long prompt, or another


def test_a_prompt_without_text_is_a_reason() -> None:
    group = Group(Prompt("p", ()), ("a", "b"), features={"embedding": np.eye(2)})
    assert split_prompt(object(), group.prompt) == ()  # type: ignore[arg-type]
    with pytest.raises(MetricInputError, match=r"^the prompt has no text$"):
        Inputs(group)["prompt_embedding"]


def test_of_several_turns_the_systems_has_no_say() -> None:
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "A joke?")]
    prompt = Prompt("p", tuple(Message(role, text) for role, text in turns))  # type: ignore[arg-type]
    assert prompt.asked == "Hi\n\nHello.\n\nA joke?"
    assert Prompt("p", prompt.messages[:1]).asked == "Be brief."


def test_the_conditional_form_keeps_the_prompt() -> None:
    rows = np.array([[3.0, 0.0, 4.0], [0.0, 2.0, 1.0], [0.0, 1.0, 0.0]])
    made = find("cosine_distance_given_prompt[correct]")
    value = made(rows, np.array(PROMPT), [1.0, 0.0, 1.0])
    assert value == cosine_distance_given_prompt(rows[[0, 2]], PROMPT)


CHAIN = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.7], [0.1, 0.7, 1.0]])
"""a is like b and b like c, but a is not like c."""


def test_linkages_by_hand() -> None:
    assert number_classes(CHAIN, 3, 0.5, complete=True) == [0, 0, 1]
    assert number_classes(CHAIN, 3, 0.5, complete=False) == [0, 0, 0]
    assert number_classes(CHAIN, 2, 0.5, complete=True) == [0, 0, 1]  # c is a reference
    assert number_classes(CHAIN, 2, 0.5, complete=False) == [0, 0, 0]


@pytest.mark.parametrize("complete", [True, False])
def test_classes_do_not_depend_on_the_order(complete: bool) -> None:
    from sklearn.cluster import AgglomerativeClustering

    points = RNG.normal(size=(6, 2))
    alike = 1 - np.linalg.norm(points[:, None] - points[None], axis=2) / 4
    expected = AgglomerativeClustering(
        n_clusters=None,
        metric="precomputed",
        linkage="complete" if complete else "single",
        distance_threshold=0.3,
    ).fit_predict(1 - alike)
    for order in permutations(range(6)):
        labels = number_classes(alike[np.ix_(order, order)], 6, 0.7, complete=complete)
        pairs = {(i, j) for i, j in combinations(range(6), 2) if labels[i] == labels[j]}
        for i, j in combinations(range(6), 2):
            assert ((i, j) in pairs) == (expected[order[i]] == expected[order[j]])


def test_responses_that_repeat_their_prompt_are_counted_for_the_notes() -> None:
    from tofu_eval.features.base import FEATURES
    from tofu_eval.features.open import OpenFeature
    from tofu_eval.pipeline.inputs import KeptFeature, count_echoes
    from tofu_eval.run.feature_cache import FeatureCache

    class Counting:
        """A vector of the letters in a text."""

        identity: ClassVar = {"kind": "letters"}
        signature = "letters"

        def key(self, prompt: Prompt, text: str) -> str:
            return text

        def compute(self, pairs):
            return [[1.0, *map(text.count, "abcdefgh")] for _, text in pairs]

    letters = OpenFeature(FEATURES.get("embedding"), Counting())
    kept = {"embedding": KeptFeature(letters, FeatureCache())}
    groups = [
        Group(Prompt.of_text("1", "a cab"), ("a cab", "a bad egg", "a cab"), "base", "t"),
        Group(Prompt.of_text("2", ""), ("", "egg"), "base", "t"),  # no prompt to repeat
    ]
    metrics = [find("cosine_distance_given_prompt")]
    assert count_echoes([groups], metrics, kept) == 2
    assert count_echoes([groups], [find("vendi")], kept) == 0
