"""What holds for every built-in metric, found through the registry."""

from __future__ import annotations

import copy
import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.errors import ConfigError, DuplicateNameError, MetricInputError, UnknownNameError
from tofu_eval.metrics import METRICS, Metric, metric
from tofu_eval.metrics.base import INPUTS

BUILT_IN = [
    entry.item
    for entry in METRICS.entries()
    if entry.item and entry.item.function.__module__.startswith("tofu_eval.metrics.")
]
DIVERSITY = [m for m in BUILT_IN if m.measures == "diversity"]
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

WORDS = st.sampled_from(["a", "b", "The", "cat", ".", "naïve", "🦊"])
# Four words at least: every distinct_n is then defined.
RESPONSES = st.lists(WORDS, min_size=4, max_size=9)
FLOATS = st.floats(-10, 10, width=32)
VECTORS = st.lists(FLOATS, min_size=5, max_size=5).filter(lambda row: max(map(abs, row)) > 1e-3)

ROWS = {
    "text": RESPONSES.map(" ".join),
    "tokens": RESPONSES,
    "embedding": VECTORS,
    "reward": st.lists(FLOATS, min_size=1, max_size=1),
}
"""One response's row of each input."""

PARAMETERS = {"n": (1, 2), "q": (0.5, 2.0)}
"""Two values of each parameter that is no input."""

by_name = pytest.mark.parametrize("made", BUILT_IN, ids=lambda made: made.name)
diverse = pytest.mark.parametrize("made", DIVERSITY, ids=lambda made: made.name)
examples = settings(max_examples=40, deadline=None, derandomize=True)


def arrays(made: Metric, rows: dict[str, list[Any]]) -> list[Any]:
    numeric = ("embedding", "reward")
    return [np.array(rows[need]) if need in numeric else rows[need] for need in made.needs]


def draw_rows(data: st.DataObject, made: Metric, count: int) -> dict[str, list[Any]]:
    return {n: data.draw(st.lists(ROWS[n], min_size=count, max_size=count)) for n in made.needs}


def bounds(made: Metric, n: int) -> tuple[float, float]:
    """The range as numbers for n responses."""
    words = {"n": float(n), "1/n": 1 / n}
    low, high = (words[text] if text in words else float(text) for text in made.range)
    return low, high


def test_the_metrics_of_the_issue_are_there() -> None:
    assert [made.name for made in BUILT_IN] == [
        "distinct_1",
        "distinct_2",
        "distinct_3",
        "distinct_4",
        "mean_length",
        "mean_pairwise_cosine_distance",
        "reward",
        "self_bleu",
        "unique_rate",
        "vendi",
    ]


@by_name
@examples
@given(data=st.data(), count=st.integers(2, 8))
def test_values_lie_in_the_range_whatever_the_order(
    made: Metric, data: st.DataObject, count: int
) -> None:
    rows = draw_rows(data, made, count)
    value = made(*arrays(made, rows))
    assert type(value) is float
    assert math.isfinite(value)
    low, high = bounds(made, count)
    assert low <= value <= high
    order = data.draw(st.permutations(range(count)))
    shuffled = {need: [rows[need][i] for i in order] for need in rows}
    assert made(*arrays(made, shuffled)) == pytest.approx(value, rel=1e-9, abs=1e-9)


@by_name
@examples
@given(data=st.data(), count=st.integers(2, 5))
def test_inputs_are_not_mutated(made: Metric, data: st.DataObject, count: int) -> None:
    given_arrays = arrays(made, draw_rows(data, made, count))
    before = copy.deepcopy(given_arrays)
    made(*given_arrays)
    for array, old in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(np.array(array, object), np.array(old, object))


@diverse
@examples
@given(data=st.data(), count=st.integers(2, 8))
def test_identical_responses_hit_the_bound(made: Metric, data: st.DataObject, count: int) -> None:
    one = draw_rows(data, made, 1)
    value = made(*arrays(made, {need: row * count for need, row in one.items()}))
    low, high = bounds(made, count)
    worst = low if made.direction == "higher" else high
    if made.name.startswith("distinct"):
        # Repetition inside the one text counts as well: its own share, count times diluted.
        n = made.settings["n"]
        words = one["tokens"][0]
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        worst = len(set(grams)) / len(grams) / count
    # 100 ** (1/4) and square roots cost a few bits.
    assert value == pytest.approx(worst, rel=1e-9, abs=1e-7)


@by_name
def test_no_responses_are_undefined(made: Metric) -> None:
    with pytest.raises(MetricInputError):
        made(*arrays(made, {need: [] for need in made.needs}))


@diverse
@examples
@given(data=st.data())
def test_one_response_has_no_diversity(made: Metric, data: st.DataObject) -> None:
    with pytest.raises(MetricInputError, match=r"^fewer than two responses \(1\)$"):
        made(*arrays(made, draw_rows(data, made, 1)))


@pytest.mark.parametrize("name", ["distinct_1", "distinct_4", "self_bleu"])
def test_empty_responses_are_undefined(name: str) -> None:
    made = METRICS.get(name)
    empty = {"text": ["", " ", "\n"], "tokens": [[], [], []]}
    with pytest.raises(MetricInputError, match=r"not empty|grams"):
        made(*arrays(made, empty))


@by_name
def test_every_parameter_has_an_effect(made: Metric) -> None:
    names = list(inspect.signature(made.function).parameters)[len(made.needs) :]
    rows = {
        "text": ["a b a b", "a b c d", "a b c e"],
        "tokens": [list("abab"), list("abcd"), list("abce")],
        "embedding": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "reward": [[1.0], [2.0], [4.0]],
    }
    for name in names:
        fixed = {key: value for key, value in made.settings.items() if key != name}
        one, other = (
            made.function(*arrays(made, rows), **fixed, **{name: value})
            for value in PARAMETERS[name]
        )
        assert one != pytest.approx(other)


@by_name
def test_docstrings_say_what_there_is_to_know(made: Metric) -> None:
    text = inspect.getdoc(made.function) or ""
    assert text.partition("\n")[0].endswith(".")
    headings = re.findall(r"^(Formula|Args|Returns|Undefined):", text, flags=re.MULTILINE)
    assert headings == ["Formula", "Args", "Returns", "Undefined"]
    described = text[text.index("\nArgs:") : text.index("\nReturns:")]
    for name in inspect.signature(made.function).parameters:
        assert f"\n    {name}: " in described
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", made.paper)
    low, high = bounds(made, 10)
    assert low < high


@by_name
def test_the_page_agrees_with_the_decorator(made: Metric) -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    names = re.sub(r"_[1-4]$", "_n", made.name)
    (row,) = [row for row in table if row[0] == f"`{names}`"]
    _, _, direction, interval, needs, paper = row
    assert direction == made.direction
    assert interval == f"{made.range[0]} to {made.range[1]}"
    assert needs == ", ".join(made.needs)
    number = made.paper.removeprefix("arXiv:")
    assert paper == f"[{made.paper}](https://arxiv.org/abs/{number})"


def test_signatures_name_the_settings_and_the_models() -> None:
    distinct = METRICS.get("distinct_2")
    assert distinct.signature({"embedding": "m@1"}) == "distinct_2|v:1|tok:nltk-word|n:2"
    assert distinct.signature({}, 50) == "distinct_2|v:1|tok:nltk-word|n:2|truncate:50"
    vendi = METRICS.get("vendi").signature({"embedding": "m@1"})
    assert vendi == "vendi|v:1|q:1.0|embedding:m@1"


def test_a_wrong_name_gets_a_hint() -> None:
    with pytest.raises(UnknownNameError) as caught:
        METRICS.get("vendi_scor")
    assert str(caught.value) == (
        "Unknown metric 'vendi_scor'. Did you mean 'vendi'? List all: tofu-eval metrics list"
    )


def registered(function: Any, **changes: Any) -> Any:
    facts: dict[str, Any] = {
        "name": "mine",
        "level": "group",
        "direction": "higher",
        "range": ("0", "1"),
        "cost": "cpu",
        "needs": ("text",),
        "paper": "arXiv:0000.00000",
    }
    return metric(**(facts | changes))(function)


def mine(texts: list[str], *, n: int) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"needs": ("texts",), "settings": {"n": 1}},
            f"Metric 'mine' needs 'texts'; it can be given {', '.join(INPUTS)}.",
        ),
        (
            {},
            "Metric 'mine' takes ['texts', 'n'], which does not fit needs=('text',) "
            "and settings={}.",
        ),
        (
            {"settings": {"n": 1, "m": 2}},
            "Metric 'mine' takes ['texts', 'n'], which does not fit needs=('text',) "
            "and settings={'n': 1, 'm': 2}.",
        ),
        (
            {"needs": ("text", "prompt"), "settings": {"n": 1}},
            "Metric 'mine' takes ['texts', 'n'], which does not fit needs=('text', 'prompt') "
            "and settings={'n': 1}.",
        ),
    ],
)
def test_a_decorator_that_does_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registered(mine, **changes)
    assert str(caught.value) == message
    with pytest.raises(UnknownNameError):
        METRICS.get("mine")


def test_a_name_that_is_taken() -> None:
    with pytest.raises(DuplicateNameError, match=r"^Two metrics are called 'vendi': .*vendi\.py:"):
        registered(mine, name="vendi", settings={"n": 1})
