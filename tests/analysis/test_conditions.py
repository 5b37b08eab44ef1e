from __future__ import annotations

from dataclasses import replace

import pytest

from tofu_eval.analysis import Difference, Interval
from tofu_eval.analysis.comparison import Cell, Comparison, Row
from tofu_eval.analysis.conditions import Condition, judge_condition, parse_condition
from tofu_eval.analysis.warnings import ValidityWarning
from tofu_eval.core.errors import ConfigError, TofuEvalError, UnknownNameError

MEAN = Interval(1.0, 0.9, 1.1, 60, "by hand")


def row(metric: str, direction: str, low: float, high: float, **more: str) -> Row:
    difference = Difference((low + high) / 2, low, high, 60, 0, 0.001, 0.2)
    cells = (Cell("base", MEAN, 0, {}, None, None), Cell("sft", MEAN, 0, {}, difference, 0.001))
    return Row("t", metric, direction, cells, **more)


COMPARISON = Comparison(
    "base",
    ("base", "sft"),
    (
        row("vendi", "higher", -0.6, -0.4),
        row("self_bleu", "lower", 5.0, 9.0),
        row("accuracy", "higher", -0.05, 0.01, measures="quality"),
        row("mean_length", "none", 2.0, 3.0, measures="length"),
    ),
    4,
)


def state(text: str, comparison: Comparison = COMPARISON) -> str:
    (judgement,) = judge_condition(comparison, parse_condition(text))
    return judgement.state


def test_what_can_be_said() -> None:
    assert parse_condition("narrower: vendi 0.3") == Condition("narrower", "vendi", 0.3)
    assert parse_condition(" worse:accuracy ") == Condition("worse", "accuracy")
    assert parse_condition("wider") == Condition("wider")
    assert str(parse_condition("narrower:  vendi[reward>=-3]  0.30")) == (
        "narrower: vendi[reward>=-3] 0.3"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("narower: vendi", "Did you mean 'narrower'?"),
        ("narrower:", "expected 'narrower: METRIC'"),
        ("narrower: vendi a lot", "Cannot read the condition"),
        ("narrower: vendi lots", "expected a number of at least 0, got 'lots'"),
        ("narrower: vendi -0.3", "expected a number of at least 0, got '-0.3'"),
        ("narrower: vendi nan", "got 'nan'"),
        ("narrower: vendi inf", "got 'inf'"),
        ("higher", "expected 'higher: METRIC'"),
        ("", "Unknown condition ''"),
    ],
)
def test_what_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(TofuEvalError) as caught:
        parse_condition(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("narrower: vendi", "carried"),
        ("narrower: vendi 0.39", "carried"),
        ("narrower: vendi 0.41", "not carried"),  # the interval reaches -0.4
        ("wider: vendi", "not carried"),
        ("narrower: self_bleu 4", "carried"),  # lower is more diverse
        ("narrower: self_bleu 6", "not carried"),
        ("higher: self_bleu 4", "carried"),
        ("worse: accuracy", "not carried"),
        ("higher: mean_length 1.5", "carried"),
        ("lower: mean_length", "not carried"),
        ("narrower", "carried"),
        ("wider", "not carried"),
        ("worse", "not carried"),
    ],
)
def test_the_whole_interval_lies_beyond(text: str, expected: str) -> None:
    assert state(text) == expected


def test_what_is_void_or_not_measured_is_unknown() -> None:
    void = ValidityWarning("lengths", voids=True, task="t", models=("sft",), metrics=("vendi",))
    warned = replace(COMPARISON, warnings=(void,))
    assert state("narrower: vendi", warned) == "unknown"
    assert state("narrower: self_bleu", warned) == "carried"
    only = replace(warned, rows=COMPARISON.rows[:1])
    assert state("narrower", only) == "unknown"
    assert state("worse", only) == "unknown"


def test_a_word_that_does_not_fit_its_metric() -> None:
    with pytest.raises(ConfigError, match="'vendi' measures diversity, so nothing is 'worse'"):
        state("worse: vendi")
    with pytest.raises(ConfigError, match="Say 'worse' or 'better'"):
        state("narrower: accuracy")
    with pytest.raises(ConfigError, match="'mean_length' has no direction"):
        state("narrower: mean_length")
    with pytest.raises(UnknownNameError, match="Unknown metric 'vendy'"):
        state("narrower: vendy")
