"""The verifiers `choice` and `text`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers import VERIFIERS
from tofu_eval.pipeline.evaluate import evaluate

CHOICE = VERIFIERS.get("choice")
TEXT = VERIFIERS.get("text")
PROMPT = Prompt.of_text("p", "Which?")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        (" B\n", "B"),
        ("(B)", "B"),
        ("(b) Paris", "B"),
        ("B. Paris", "B"),
        ("B) Paris", "B"),
        ("B: Paris", "B"),
        ("**B**", "B"),
        ("**B. Paris**", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B because A is wrong.", "B"),
        ("Answer: B", "B"),
        ("**Answer:** B", "B"),
        ("Answer: (b)", "B"),
        ("The correct option is C.", "C"),
        ("The best choice is option D", "D"),
        ("Answer: A. No wait, answer: C", "C"),
        (r"Of A and B it is \boxed{B}", "B"),
        (r"\boxed{\text{(D)}}", "D"),
        (r"\boxed{\textbf{(E) }}", "E"),
        (r"\boxed{b}. The answer is A", "B"),
        ("It may be (A), but rather (C), I think", "C"),
        ("Let me think.\nParis is a city.\nB", "B"),
        ("A cat sat on the mat.", None),
        ("I think it is Paris", None),
        ("The answer is Paris", None),
        (r"\boxed{12}", None),
        ("", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert CHOICE.find(PROMPT, text) == letter


@pytest.mark.parametrize(
    ("one", "reference", "same"),
    [("B", "B", True), ("B", "(b)", True), ("B", "B. Paris", True), ("B", "C", False)],
)
def test_letters_are_compared(one: str, reference: str, same: bool) -> None:
    assert CHOICE.equal([(one, reference)]) == [same]


@pytest.mark.parametrize(
    ("text", "reference", "same"),
    [
        ("The answer is the Eiffel Tower.", "Eiffel tower", True),
        ("eiffel tower", "The Eiffel Tower!", True),
        (r"\boxed{Paris}", "paris", True),
        ("Paris or London", "Paris", False),
        ("tower Eiffel", "Eiffel tower", False),
    ],
)
def test_words_are_compared(text: str, reference: str, same: bool) -> None:
    answer = TEXT.find(PROMPT, text)
    assert answer is not None
    assert TEXT.equal([(answer, reference)]) == [same]


def test_no_text_is_no_answer() -> None:
    assert TEXT.find(PROMPT, " \n") is None
    assert TEXT.find(PROMPT, "long " * 300) is None


def test_a_task_names_its_verifier_and_a_run_uses_it(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "quiz.yaml"
    file.write_text(
        "name: quiz\nversion: 1\nverifier: text\nmetrics: [accuracy, pass_at_2, majority_vote]\n"
        "sampling: {samples: 3, max_tokens: 4}\n"
        "prompts:\n  - {text: Name a fruit, references: [apple]}\n",
        "utf-8",
    )
    result = evaluate({"m": tiny_model}, file, tmp_path / "run", device="cpu")
    rows = result.estimates.to_pylist()
    assert [row["metric"] for row in rows] == ["accuracy", "pass_at_2", "majority_vote"]
    assert all(row["value"] is not None and "|correct:text@v1" in row["signature"] for row in rows)
    # The user's word goes before the task's, and the run is scored again.
    again = evaluate(
        {"m": tiny_model}, file, tmp_path / "run", device="cpu", verifier={"name": "choice"}
    )
    assert "|correct:choice@v1" in again.estimates.to_pylist()[0]["signature"]
