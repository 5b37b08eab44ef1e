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
from support import metric_facts as facts

from tofu_eval.core.errors import (
    ConfigError,
    DuplicateNameError,
    MetricInputError,
    UnknownNameError,
)
from tofu_eval.core.tokens import TOKENISERS
from tofu_eval.core.types import Prompt
from tofu_eval.metrics import METRICS, Metric, metric
from tofu_eval.metrics.base import VARIANTS

BUILT_IN = [
    entry.item
    for entry in METRICS.entries()
    if entry.item and entry.item.function.__module__.startswith("tofu_eval.metrics.")
]
DIVERSITY = [m for m in BUILT_IN if m.measures == "diversity"]
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

WORDS = st.sampled_from(["a", "b", "The", "cat", ".", "naïve", "🦊"])
# Four words and a letter at least: every n-gram metric is then defined.
RESPONSES = st.lists(WORDS, min_size=4, max_size=9).map(lambda words: [*words, "a", "b"])
FLOATS = st.floats(-10, 10, width=32)
VECTORS = st.lists(FLOATS, min_size=5, max_size=5).filter(lambda row: max(map(abs, row)) > 1e-3)
PROMPT = Prompt.of_text(
    "p",
    "Say something in ten words.",
    references=("a b c d", "The cat . a", "a b c d", "B"),
    metadata={"target": '{"a": 0.75, "zebra": 0.25}'},
)

ROWS = {
    "text": RESPONSES.map(" ".join),
    **dict.fromkeys(TOKENISERS, RESPONSES),
    "pos": RESPONSES,
    "embedding": VECTORS,
    "reward": st.lists(FLOATS, min_size=1, max_size=1),
    "logprob": st.floats(-50, -1),
    "token_logprobs": st.lists(st.floats(-9, 0), min_size=1, max_size=4),
    "finish_reason": st.sampled_from(["stop", "length"]),
    "equivalence": st.integers(0, 3),
    "reward_level": st.integers(1, 10),
    "judge": st.tuples(st.integers(0, 2), st.integers(3, 5)).map(list),
    "harmful": st.sampled_from([[0.0], [1.0]]),
    "listed_refusal": st.sampled_from([[0.0], [1.0]]),
    "judge_total": st.sampled_from([[0.0], [3.5], [5.0]]),
    "correct": st.sampled_from([0.0, 1.0]),
    "answer": st.integers(-1, 2),
    "nli": st.lists(st.floats(-1, 1), min_size=1, max_size=1),
    "nli_sentences": st.tuples(st.floats(-2, 2), st.just(2.0)).map(list),
    "likelihood": st.tuples(st.floats(-50, -1), st.integers(1, 9), st.integers(9, 40)).map(list),
    "surprise": st.tuples(st.just(20), st.integers(0, 1), st.floats(-50, -1)).map(list),
    "training_likelihood": st.tuples(st.floats(-50, 0), st.floats(-50, 0)).map(list),
    "training_ngrams": st.tuples(st.integers(0, 5), st.integers(5, 9)).map(list),
    "redundancy": st.tuples(st.floats(-50, 0), st.floats(-50, 0)).map(list),
}
"""One response's row of each input; inputs of the prompt and its references stand in OF_PROMPT."""

OF_PROMPT = {
    "prompt": PROMPT,
    "states": {"responses": 8, "unfinished": 2, "empty": 1, "filtered": 3, "failed": 0},
    "references": PROMPT.references,
    **{f"reference_{need}": [t.split() for t in PROMPT.references] for need in TOKENISERS},
    "reference_embedding": np.eye(5)[:2],
    "prompt_embedding": None,  # made to fit the responses'
    "prompts": None,  # another for each response
    "reference_equivalence": [0, 0, 5],
}

DIFFERENT = {
    "text": lambda i: " ".join(f"{c}{i}" for c in "abcdef"),
    **dict.fromkeys([*TOKENISERS, "pos"], lambda i: [f"{c}{i}" for c in "abcdef"]),
    "embedding": lambda i: np.eye(9)[i],
    "equivalence": lambda i: i,
}
"""Rows of responses that share nothing, up to eight."""

PARAMETERS = {
    "n": (1, 2),
    "words": (2, 3),
    "templates": (1, 2),
    "k": (1, 2),
    "patience": (0.5, 1.0),
    "q": (0.5, 2.0),
    "component": (0.1, 1.0),
    "vocabulary": (100, 1000),
    "window": (2, 3),
    "threshold": (0.01, 2.0),
    "weights": ((1.0,), (0.5, 0.5)),
    "epsilon": (0.1, 0.5),
    "algorithm": ("gzip", "xz"),
    "state": ("unfinished", "filtered"),
    "template": ("none", "llama-3.1"),
}
"""Two values of each parameter that is no input."""

INDIFFERENT = {
    ("near_duplicate_rate", "n"),
    ("template_rate", "n"),
    ("template_rate", "templates"),
}
"""Parameters for which the texts are too short."""


def family(name: str) -> str:
    """What the page calls a metric that has one row with others."""
    return re.sub(r"(?<!at)_[1-4]$", "_n", re.sub(r"^pass_at_\d+$", "pass_at_k", name))


by_name = pytest.mark.parametrize("made", BUILT_IN, ids=lambda made: made.name)
diverse = pytest.mark.parametrize("made", DIVERSITY, ids=lambda made: made.name)
examples = settings(max_examples=40, deadline=None, derandomize=True)


def arrays(made: Metric, rows: dict[str, list[Any]]) -> list[Any]:
    numeric = ("embedding", "reward")
    width = len(rows["embedding"][0]) if rows.get("embedding") else 5
    return [
        (np.eye(width)[-1:] if width == 9 else np.array([np.sqrt(np.arange(2.0, width + 2))]))
        if need == "prompt_embedding"
        else range(max(map(len, rows.values()), default=0))
        if need == "prompts"
        else OF_PROMPT[need]
        if need in OF_PROMPT
        else (np.array(rows[need]) if need in numeric else rows[need])
        for need in made.needs
    ]


def own_needs(made: Metric) -> list[str]:
    return [need for need in made.needs if need not in OF_PROMPT]


def draw_rows(data: st.DataObject, made: Metric, count: int) -> dict[str, list[Any]]:
    return {
        n: data.draw(st.lists(ROWS[n], min_size=count, max_size=count)) for n in own_needs(made)
    }


def least(made: Metric) -> int:
    """How many responses a metric takes."""
    return facts.LEAST.get(made.name, 2)


def bounds(made: Metric, n: int) -> tuple[float, float]:
    """The range as numbers for n responses."""
    words = {"n": float(n), "1/n": 1 / n, "log2(n + 1)": math.log2(n + 1)}
    low, high = (words[text] if text in words else float(text) for text in made.range)
    return low, high


@by_name
@examples
@given(data=st.data(), count=st.integers(2, 8))
def test_values_lie_in_the_range_whatever_the_order_and_inputs_stay(
    made: Metric, data: st.DataObject, count: int
) -> None:
    count = max(count, least(made))
    rows = draw_rows(data, made, count)
    given_arrays = arrays(made, rows)
    before = copy.deepcopy(given_arrays)
    value = made(*given_arrays)
    for array, old in zip(given_arrays, before, strict=True):  # inputs are not mutated
        np.testing.assert_array_equal(np.array(array, object), np.array(old, object))
    assert type(value) is float
    assert math.isfinite(value)
    low, high = bounds(made, count)
    assert low <= value <= high
    if made.name in facts.ORDERED:
        return
    order = data.draw(st.permutations(range(count)))
    shuffled = {need: [rows[need][i] for i in order] for need in rows}
    assert made(*arrays(made, shuffled)) == pytest.approx(value, rel=1e-9, abs=1e-9)


def end(made: Metric, n: int, said: str | None, *, best: bool) -> float | None:
    """The value that a metric promises of n responses; None where it promises none."""
    if said is None or (said == "bound" and made.direction == "none"):
        return None
    low, high = bounds(made, n)
    if said == "bound":
        return high if (made.direction == "higher") == best else low
    words = {"n": float(n), "1/n": 1 / n, "log2(n + 1)": math.log2(n + 1)}
    return words.get(said) or float(said)


@diverse
@examples
@given(data=st.data(), count=st.integers(2, 8))
def test_identical_responses(made: Metric, data: st.DataObject, count: int) -> None:
    count = max(count, least(made))
    one = draw_rows(data, made, 1)
    promised = end(made, count, facts.IDENTICAL.get(made.name, "bound"), best=False)
    if promised is not None:
        value = made(*arrays(made, {need: row * count for need, row in one.items()}))
        # 100 ** (1/4) and square roots cost a few bits.
        assert value == pytest.approx(promised, rel=1e-9, abs=1e-7)


@diverse
@pytest.mark.parametrize("count", [2, 5, 8])
def test_responses_that_share_nothing(made: Metric, count: int) -> None:
    count = max(count, least(made))
    promised = end(made, count, facts.DIFFERENT.get(made.name, "bound"), best=True)
    if promised is not None:
        rows = {need: [DIFFERENT[need](i) for i in range(count)] for need in own_needs(made)}
        assert made(*arrays(made, rows)) == pytest.approx(promised, rel=1e-9, abs=1e-7)


@diverse
def test_more_diversity_is_the_better_end(made: Metric) -> None:
    """Whatever the bounds are, all different is not less diverse than all the same."""
    if made.direction == "none" or not set(own_needs(made)) <= DIFFERENT.keys():
        return
    rows = {
        need: [DIFFERENT[need](i) for i in range(max(4, least(made)))] for need in own_needs(made)
    }
    same = {need: [row[0]] * len(row) for need, row in rows.items()}
    gain = made(*arrays(made, rows)) - made(*arrays(made, same))
    gain = gain if made.direction == "higher" else -gain
    # `mattr` looks at one response at a time.
    assert gain >= 0 if made.name == "mattr" else gain > 0


@by_name
def test_no_responses_are_undefined(made: Metric) -> None:
    if made.needs == ("states",):
        with pytest.raises(MetricInputError, match=r"^no responses$"):
            made({"responses": 0, "unfinished": 0, "empty": 0, "filtered": 0, "failed": 0})
        return
    with pytest.raises(MetricInputError):
        made(*arrays(made, {need: [] for need in own_needs(made)}))


@diverse
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_one_response_has_no_diversity(made: Metric, data: st.DataObject) -> None:
    with pytest.raises(MetricInputError, match=r"^fewer than two responses \(1\)$"):
        made(*arrays(made, draw_rows(data, made, 1)))


LEXICAL = [m for m in DIVERSITY if set(m.needs) <= {*TOKENISERS, "text", "prompt"}]


@pytest.mark.parametrize("made", LEXICAL, ids=lambda made: made.name)
def test_empty_responses_are_undefined_or_in_the_range(made: Metric) -> None:
    """Never a NaN, an infinity or another error than the one that becomes a reason."""
    texts = ["", " ", "\n"]
    rows = {need: texts if need == "text" else [[], [], []] for need in own_needs(made)}
    try:
        value = made(*arrays(made, rows))
    except MetricInputError:
        return
    low, high = bounds(made, 3)
    assert low <= value <= high


@by_name
def test_every_parameter_has_an_effect(made: Metric) -> None:
    names = list(inspect.signature(made.function).parameters)[len(made.needs) :]
    words = [list("ababab"), list("abcdab"), list("abcexb"), list("ababab")]
    rows = {
        "text": [" ".join(row) for row in words],
        **dict.fromkeys([*TOKENISERS, "pos"], words),
        "embedding": [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.0]],
        "reward": [[-9.0], [2.0], [-5.0], [1.0]],
        "reward_level": [1, 10, 5, 9],
        "correct": [1.0, 0.0, 0.0, 0.0],
    }
    rows["equivalence"] = [0, 1, 2, 0]
    for name in names:
        if (made.name, name) in INDIFFERENT:
            continue
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
    assert bool(made.variant) == ("\nReproduces: " in text)
    assert not made.variant or made.variant in VARIANTS
    described = text[text.index("\nArgs:") : text.index("\nReturns:")]
    for name in inspect.signature(made.function).parameters:
        assert f"\n    {name}: " in described
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d+/\S+", made.paper)
    low, high = bounds(made, 10)
    assert low < high


@by_name
def test_the_page_agrees_with_the_decorator(made: Metric) -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    names = family(made.name)
    (row,) = [row for row in table if row[0] == f"`{names}`" and len(row) == 6]
    _, _, direction, interval, needs, paper = row
    assert direction == made.direction
    assert interval == f"{made.range[0]} to {made.range[1]}"
    assert needs == ", ".join(made.needs)
    kind, _, number = made.paper.partition(":")
    home = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}[kind]
    assert paper == f"[{made.paper}]({home}{number})"


def _tables(page: Path) -> list[list[str]]:
    """The cells of every row of a page's tables."""
    lines = page.read_text("utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]


def test_the_page_has_no_metric_that_does_not_exist() -> None:
    names = [row[0].strip("`") for row in _tables(PAGE) if len(row) == 6 and row[0][:1] == "`"]
    known = {family(made.name) for made in BUILT_IN}
    assert set(names) == known
    assert len(names) == len(set(names))
    variants = {made.name for made in BUILT_IN if "@" in made.name}
    listed = {
        name
        for row in _tables(PAGE)
        if len(row) == 3
        for name in re.findall(r"`([^`]*@[^`]*)`", row[0])
    }
    assert variants == listed & variants


def test_signatures_name_the_settings_and_the_models() -> None:
    distinct = METRICS.get("distinct_2")
    assert distinct.signature({"embedding": "m@1"}) == "distinct_2|v:1|tok:nltk-word+chars|n:2"
    assert distinct.signature({}, 50) == "distinct_2|v:1|tok:nltk-word+chars|n:2|truncate:50"
    vendi = METRICS.get("vendi").signature({"embedding": "m@1"})
    assert vendi == "vendi|v:1|q:1.0|embedding:m@1"


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        ("vendi", "meaning"),
        ("nli_diversity", "meaning"),
        ("distinct_k", "classes"),
        ("self_bleu", "words"),
        ("template_rate", "words"),
        ("unique_rate", "words"),
        ("token_entropy", "probability"),
        ("reward", "other"),
    ],
)
def test_a_metric_says_what_it_sees(name: str, sees: str) -> None:
    assert METRICS.get(name).facts()["sees"] == sees


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
            {"needs": "text", "settings": {"n": 1}},
            "Metric 'mine' has needs='text'; expected a tuple of names, such as (\"text\",).",
        ),
        (
            {"level": "prompt", "settings": {"n": 1}},
            "Metric 'mine' has the level 'prompt'; expected 'group' or 'corpus'.",
        ),
        (
            {"direction": "up", "settings": {"n": 1}},
            "Metric 'mine' has the direction 'up'; expected 'higher', 'lower' or 'none'.",
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


def test_a_variant_says_what_it_reproduces() -> None:
    with pytest.raises(ConfigError, match=r"^Metric 'mine@x' is a compat variant, but its doc"):
        registered(mine, name="mine@x", settings={"n": 1})


def test_a_corpus_has_no_prompt() -> None:
    def of_prompt(texts: list[str], prompt: Prompt) -> float:
        return 0.0

    with pytest.raises(ConfigError, match=r"^Metric 'mine' is of level 'corpus' and needs 'pro"):
        registered(of_prompt, needs=("text", "prompt"), level="corpus")
