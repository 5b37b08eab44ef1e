"""Our metrics beside what `diversity` 0.3.1 itself says; diversity_golden.py made the numbers.

Where ours differ, both values are asserted, with the package's fault.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.features.text import tokens
from tofu_eval.metrics import METRICS

GOLDEN: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("diversity_golden.json").read_text("utf-8")
)
ROUNDED = 5.0001e-4
"""The package rounds to three digits inside the metric."""


def ours(metric: str, case: str) -> float:
    made = METRICS.get(metric)
    (need,) = made.needs
    texts = GOLDEN[case]["texts"]
    return made(texts if need == "text" else tokens(texts, need))


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize(
    ("metric", "theirs", "within"),
    [
        ("compression_ratio_gzip@diversity-0.3", "compression_ratio_gzip", ROUNDED),
        ("compression_ratio_xz", "compression_ratio_xz", ROUNDED),
        ("ngram_diversity@diversity-0.3", "ngram_diversity", ROUNDED),
        ("self_repetition", "self_repetition", 1e-12),
    ],
)
def test_the_same_number(metric: str, theirs: str, within: float, case: str) -> None:
    assert ours(metric, case) == pytest.approx(GOLDEN[case][theirs], abs=within, rel=0)


@pytest.mark.parametrize("case", ["all the same", "some alike", "sentences"])
def test_homogenization_of_texts_with_a_word_in_common(case: str) -> None:
    expected = GOLDEN[case]["homogenization_rougel"]
    assert ours("rouge_l_homogenization", case) == pytest.approx(expected, abs=ROUNDED, rel=0)


def test_homogenization_of_texts_with_nothing_in_common() -> None:
    # The package takes a sum of 0 for "all strings are the same" and returns its greatest value.
    assert GOLDEN["nothing in common"]["homogenization_rougel"] == 1.0
    assert ours("rouge_l_homogenization", "nothing in common") == 0.0


@pytest.mark.parametrize("case", GOLDEN)
def test_gzip_compresses_once(case: str) -> None:
    # The package puts the output of gzip into a gzip file, whose frame it counts too.
    data = " ".join(GOLDEN[case]["texts"]).encode()
    once = len(data) / len(gzip.compress(data, mtime=0))
    assert ours("compression_ratio_gzip", case) == pytest.approx(once, rel=1e-12)
    assert GOLDEN[case]["compression_ratio_gzip"] < once


def test_ngram_diversity_is_a_mean_within_responses() -> None:
    # The package sums four orders, so that 4 is its most, and joins the texts: "mat the" counts.
    assert GOLDEN["nothing in common"]["ngram_diversity"] == 4.0
    theirs = 5 / 12 + 6 / 11 + 6 / 10 + 6 / 9
    assert GOLDEN["all the same"]["ngram_diversity"] == pytest.approx(theirs, abs=ROUNDED)
    assert ours("ngram_diversity", "all the same") == pytest.approx(
        (5 / 12 + 5 / 10 + 4 / 8) / 3, rel=1e-12
    )
