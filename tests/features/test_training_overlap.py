"""Responses' n-grams in the training data, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.features.training_overlap import hash_ngrams

GROUP = te.Group(
    te.Prompt.of_text("p", "Name a fruit."),
    ("I like a ripe pear", "the old clock in the hall", "一个苹果很好", "no"),
)


def overlap(data: Path, n: int) -> tuple[float | None, str]:
    made = te.score([GROUP], metrics=["training_overlap"], training={"data": str(data), "ngram": n})
    (row,) = made.estimates.to_pylist()
    return row["value"], row["signature"]


@pytest.mark.parametrize("form", ["prompt", "messages", "alpaca"])
def test_share_of_ngrams_in_the_completions(tmp_path: Path, form: str) -> None:
    answers = ["Today I LIKE a ripe  apple", "in the hall stands 一个苹果"]
    asked = "the old clock in the"  # what is asked is no part of what is learnt
    rows = {
        "prompt": [{"prompt": asked, "completion": text} for text in answers],
        "messages": [
            {
                "messages": [
                    {"role": "user", "content": asked},
                    {"role": "assistant", "content": text},
                ]
            }
            for text in answers
        ],
        "alpaca": [{"instruction": asked, "input": "", "output": text} for text in answers],
    }[form]
    data = tmp_path / "sft.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    # i like a, like a ripe; in the hall; 一个苹, 个苹果: of 3 + 4 + 4 + 0.
    value, signature = overlap(data, 3)
    assert value == pytest.approx(5 / 11)
    assert ",3-grams" in signature
    # The longest have six words.
    assert overlap(data, 4)[0] == pytest.approx(2 / 8)
    assert overlap(data, 7)[0] is None


def test_order_counts() -> None:
    assert set(hash_ngrams("a b c", 2)).isdisjoint(hash_ngrams("b a", 2))
    assert len(hash_ngrams("a a a", 2)) == 2


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--training-data"):
        te.score([GROUP], metrics=["training_overlap"])
    data = tmp_path / "bad.jsonl"
    data.write_text('{"fruit": "apple"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl, row 1"):
        overlap(data, 3)
