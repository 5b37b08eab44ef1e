"""Verdicts on groups: what is correct, what is the same answer, and what a run keeps of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError, PluginError, UnknownNameError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.answers import VERIFIERS, Verifier
from tofu_eval.features.answers.verdicts import Verdicts
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.pipeline.workload import check
from tofu_eval.run.feature_cache import FeatureCache


def group(texts: Sequence[str], references: Sequence[str], task: str = "t") -> Group:
    prompt = Prompt.of_text("p", "What is it?", references=references)
    return Group(prompt, tuple(texts), task=task)


def judged(texts: Sequence[str], references: Sequence[str], name: str = "math") -> dict[str, list]:
    (made,) = Verdicts({"t": name}, classes=True).compute(
        [group(texts, references)], FeatureCache()
    )
    return {feature: np.asarray(rows).tolist() for feature, rows in made.items()}


def test_correct_wrong_and_unreadable() -> None:
    made = judged(["#### 5", "#### 6", "none", r"\boxed{+*}", r"\boxed{)(}"], ["5"])
    np.testing.assert_equal(made["correct"], [1.0, 0.0, np.nan, np.nan, np.nan])
    assert made["answer"] == [0, 1, -1, 2, 3]


def test_equal_answers_share_a_class_however_they_are_written() -> None:
    boxed = [rf"\boxed{{{x}}}" for x in ("0.5", "1/2", "x+x", "2x", r"\frac12", "3", "2x")]
    made = judged(boxed, [r"\frac{1}{2}"])
    assert made["answer"] == [0, 0, 1, 1, 0, 2, 1]
    assert made["correct"] == [1, 1, 0, 0, 1, 0, 0]


def test_several_references_are_several_answers() -> None:
    made = judged(["#### 2", "#### 3", "#### 2.0", "#### 4"], ["2", "3"])
    assert made["correct"] == [1, 1, 1, 0]
    assert made["answer"] == [0, 1, 0, 2]


def test_nothing_is_said_without_a_verifier_or_a_reference() -> None:
    groups = [group(["5"], ["5"], "other"), group(["5"], []), group(["5"], ["5"])]
    made = Verdicts({"t": "math"}).compute(groups, FeatureCache())
    assert [sorted(features) for features in made] == [[], [], ["correct"]]
    (made,) = Verdicts({}, "text").compute([group(["The cat."], ["a cat"], "x")], FeatureCache())
    assert made["correct"].tolist() == [1.0]


def test_what_a_file_says_stays() -> None:
    told = Group(
        Prompt.of_text("p", "?", references=("5",)), ("5", "5"), task="t",
        features={"correct": (False, True)},
    )  # fmt: skip
    assert Verdicts({"t": "math"}).compute([told], FeatureCache()) == [{}]


@pytest.fixture
def mine() -> Iterator[list[int]]:
    asked: list[int] = []

    def equal(pairs: Sequence[tuple[str, str]]) -> list[bool]:
        asked.append(len(pairs))
        return [one == other for one, other in pairs]

    VERIFIERS.add("mine", Verifier("mine", 1, lambda prompt, text: text or None, equal), "here")
    yield asked
    del VERIFIERS._items["mine"]


def test_a_verdict_is_asked_for_once(mine: list[int], tmp_path: Path) -> None:
    feature, cache = Verdicts({"t": "mine"}, classes=True), FeatureCache(tmp_path)
    one = group(["a", "b", "c", "b"], ["a"])
    first = feature.compute([one], cache)
    assert mine == [3, 1]  # three answers beside the reference; c beside b
    again = feature.compute([one], FeatureCache(tmp_path))
    assert mine == [3, 1]
    for name in ("correct", "answer"):
        assert first[0][name].tolist() == again[0][name].tolist()
    assert first[0]["answer"].tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("find", "equal", "message"),
    [
        (
            lambda *_: 1 / 0,
            lambda pairs: [True] * len(pairs),
            "ZeroDivisionError: division by zero",
        ),
        (lambda *_: "x", lambda pairs: [], "0 verdicts for 1 pairs, expected one each"),
        (lambda *_: "x", lambda pairs: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_verifier_that_fails(find: object, equal: object, message: str) -> None:
    VERIFIERS.add("bad", Verifier("bad", 2, find, equal), "here")  # type: ignore[arg-type]
    try:
        with pytest.raises(PluginError, match=rf"^The verifier 'bad@v2' failed: {message}\."):
            Verdicts({"t": "bad"}).compute([group(["a"], ["b"])], FeatureCache())
    finally:
        del VERIFIERS._items["bad"]


def test_an_unknown_verifier() -> None:
    with pytest.raises(UnknownNameError) as caught:
        Verdicts({"t": "maths"})
    assert str(caught.value) == (
        "The task 't' names no verifier of this installation. Unknown verifier 'maths'. Did you "
        "mean 'math'? List all: tofu-eval verifiers list. Or name its file: --verifier FILE.py"
    )


ROWS = """\
{"prompt": "1+1?", "responses": ["#### 2", "It is 3", "2", "?"], "references": ["2"]}
{"prompt": "1+2?", "responses": ["#### 3", "It is 3", "It is 3!", "3.0"], "references": ["3"]}
"""
METRICS = (
    "accuracy",
    "pass_at_2",
    "pass_at_7",
    "majority_vote",
    "unparsable_rate",
    "distinct_correct_answers",
    "distinct_correct_solutions",
    "unique_rate[correct]",
)


def test_a_file_through_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text(ROWS, "utf-8")
    chosen = [word for name in METRICS for word in ("--metric", name)]
    words = ["score", str(file), "--output", str(tmp_path / "run"), "--verifier", "math", *chosen]
    for _ in range(2):  # the second time all is kept
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    result = score_files(
        [(None, file)], tmp_path / "run", verifier={"name": "math"}, metrics=METRICS
    )
    values = {(row["prompt_id"], row["metric"]): row["value"] for row in result.scores.to_pylist()}
    first, second = dict.fromkeys(row["prompt_id"] for row in result.scores.to_pylist())
    assert [values[first, name] for name in METRICS] == [
        0.5,
        pytest.approx(5 / 6),
        None,
        1,
        0.25,
        1,
        2,
        1,
    ]
    assert [values[second, name] for name in METRICS] == [1, 1, None, 1, 0, 1, 4, 1]
    signature = next(
        row["signature"] for row in result.estimates.to_pylist() if row["metric"] == "accuracy"
    )
    assert signature.startswith("accuracy|v:1|correct:math@v1")


def test_a_file_may_say_what_is_correct(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text(
        '{"prompt": "a", "responses": ["x", "y"], "correct": [true, false]}\n'
        '{"prompt": "b", "responses": ["x", "y"], "correct": [true, null]}\n'
        '{"prompt": "c", "responses": ["x", "y"]}\n',
        "utf-8",
    )
    result = score_files([(None, file)], tmp_path / "run", metrics=["accuracy"])
    assert [(row["value"], row["reason"]) for row in result.scores.to_pylist()] == [
        (0.5, None),
        (None, "1 of 2 responses have no verdict 'correct'"),
        (None, "the responses have no verdict 'correct'"),
    ]


def test_a_wrong_verdict_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text('{"prompt": "a", "response": "x", "correct": 1}\n', "utf-8")
    words = ["score", str(file), "--output", str(tmp_path / "run"), "--metric", "accuracy"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "line 1: 'correct' must be true or false, got a number" in done.output


def test_no_task_with_a_verifier() -> None:

    with pytest.raises(ConfigError, match=r"^The feature 'correct' needs a verifier, and no task"):
        check(["open-prompts"], metrics=["accuracy"])
    check(["open-prompts"], metrics=["accuracy"], verifier={"name": "text"})


def test_the_list_of_verifiers() -> None:
    done = CliRunner().invoke(main, ["verifiers", "list"])
    assert [line.split()[0] for line in done.output.splitlines()] == [
        "choice@v1",
        "letter@v1",
        "listed@v1",
        "math@v1",
        "text@v1",
    ]
