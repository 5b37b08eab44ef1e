"""Answers against a target distribution: by hand, by simulation, and how an answer is read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tofu_eval.core.errors import MetricInputError
from tofu_eval.core.types import Prompt
from tofu_eval.metrics import METRICS
from tofu_eval.metrics.target import answers, target_of
from tofu_eval.tasks import load_task

KL, TV, RATIO, UNREAD = (
    METRICS.get(f"target_{name}")
    for name in ("kl", "total_variation", "collision_ratio", "unparsable_rate")
)


def prompt(**target: float) -> Prompt:
    return Prompt.of_text("p", "Choose:", metadata={"target": json.dumps(target)})


COIN = prompt(heads=0.5, tails=0.5)


def test_by_hand() -> None:
    texts = ["heads", "heads", "heads", "tails"]
    assert KL(texts, COIN) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert TV(texts, COIN) == pytest.approx(0.25)
    assert RATIO(texts, COIN) == pytest.approx((3 * 2 / 12) / 0.5)  # as often as it should
    assert UNREAD(texts, COIN) == 0.0


def test_always_the_same() -> None:
    texts = ["Heads."] * 10
    assert KL(texts, COIN) == pytest.approx(math.log(2))
    assert TV(texts, COIN) == pytest.approx(0.5)
    assert RATIO(texts, COIN) == pytest.approx(2.0)


def test_exactly_a_target_that_is_not_uniform() -> None:
    bent = prompt(heads=0.75, tails=0.25)
    texts = ["heads", "heads", "heads", "tails"]
    assert (KL(texts, bent), TV(texts, bent)) == (0.0, 0.0)


def test_what_cannot_be_read_is_left_out_and_counted() -> None:
    texts = ["heads", "tails", "it landed on its edge", "heads or tails"]
    assert UNREAD(texts, COIN) == 0.5
    assert TV(texts, COIN) == 0.0
    for metric in (KL, TV):
        with pytest.raises(MetricInputError, match="none of 2 responses names one of the options"):
            metric(["edge", ""], COIN)
    with pytest.raises(MetricInputError, match=r"fewer than two answers that can be read \(1\)"):
        RATIO(["heads", "edge"], COIN)


@pytest.mark.slow
@pytest.mark.parametrize("sides", [2, 6, 100])
def test_a_random_model_has_the_expected_values(sides: int) -> None:
    """Means over 400 simulated models: the ratio is unbiased, KL is (k - 1) / 2n."""
    rng = np.random.default_rng(sides)
    die = prompt(**{str(side): 1 / sides for side in range(sides)})
    rolls = rng.integers(sides, size=(400, 1000)).astype(str).tolist()
    ratios = [RATIO(row, die) for row in rolls]
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * np.std(ratios) / 20)
    assert np.mean([KL(row, die) for row in rolls]) == pytest.approx((sides - 1) / 2000, rel=0.15)


READ = [
    # options, response, what is read
    (("heads", "tails"), "Heads", "heads"),
    (("heads", "tails"), "**HEADS**!", "heads"),
    (("heads", "tails"), "ＨＥＡＤＳ", "heads"),
    (("heads", "tails"), "It's heads.", "heads"),
    (("heads", "tails"), "headstrong", None),
    (("heads", "tails"), "arrowheads", None),
    (("heads", "tails"), "", None),
    (("heads", "tails"), "heads or tails?", None),
    (("heads", "tails"), "heads, heads", "heads"),
    (("heads", "tails"), "\n\nTails\nNext flip: heads", "tails"),  # the first line decides
    (("heads", "tails"), "Let me flip.\nIt is tails.", "tails"),
    (("heads", "tails"), "heads or tails?\nheads", None),
    (("1", "7", "100"), "7", "7"),
    (("1", "7", "100"), "The number is 7.", "7"),
    (("1", "7", "100"), "Seven", "7"),
    (("1", "7", "100"), "**100**", "100"),
    (("1", "7", "100"), "17", None),
    (("1", "7", "100"), "-7", None),
    (("1", "7", "100"), "7.5", None),
    (("1", "7", "100"), "1,000", None),
    (("1", "7", "100"), "0.7", None),
    (("1", "7", "100"), "1 to 100: 7", None),
    (("1", "7", "100"), "(7)", "7"),
    (("1", "7", "100"), "7, I think", "7"),
    (("york", "new york"), "New York", "new york"),
    (("a", "e", "i", "o", "u"), "E", "e"),
    (("a", "e", "i", "o", "u"), "The vowel is U", "u"),
    (("d", "t"), "I don't know: D.", "d"),
    (("heads", "tails"), "…'heads'", "heads"),
    (("heads", "tails"), "...heads", "heads"),
    (("heads", "tails"), "a heads-up", None),
    (("monday", "sunday"), "Sunday,\nbecause", "sunday"),
]


@pytest.mark.parametrize(("options", "text", "read"), READ, ids=[f"{r[1]!r}" for r in READ])
def test_how_an_answer_is_read(options: tuple[str, ...], text: str, read: str | None) -> None:
    assert answers([text], dict.fromkeys(options, 1 / len(options))) == [read]


def test_a_megabyte_is_read_at_once() -> None:
    assert answers(["heads " + "(" * 1_000_000], {"heads": 0.5, "tails": 0.5}) == ["heads"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "the prompt has no target distribution"),
        ("[1]", "the prompt's target is not a JSON object of numbers"),
        ("{", "the prompt's target is not a JSON object of numbers"),
        ('{"a": "x"}', "the prompt's target is not a JSON object of numbers"),
        ('{"a": 0.5, "b": 0.6}', "the prompt's target is not a distribution"),
        ('{"a": 1.5, "b": -0.5}', "the prompt's target is not a distribution"),
        ('{"a": NaN}', "the prompt's target is not a distribution"),
    ],
)
def test_a_wrong_target_is_a_reason(target: str | None, message: str) -> None:
    wrong = Prompt.of_text("p", "x", metadata={} if target is None else {"target": target})
    for metric in (KL, TV, RATIO, UNREAD):
        with pytest.raises(MetricInputError, match=message):
            metric(["a", "a"], wrong)


def test_every_option_of_random_choice_can_be_read_and_told_apart() -> None:
    for asked in load_task("random-choice").load():
        target = target_of(asked)
        assert sum(target.values()) == pytest.approx(1)
        assert answers([f"{option.title()}." for option in target], target) == list(target)
