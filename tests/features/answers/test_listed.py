"""The verifier `listed`."""

from __future__ import annotations

import pytest

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers import VERIFIERS
from tofu_eval.tasks import load_task

LISTED = VERIFIERS.get("listed")

NAMES = ("apple", "passion fruit", "fruit", "Virginia", "West Virginia", "St. Lawrence", "12", "ß")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("apple", "apple"),
        ("I like Apples and passion fruit.", "apple"),
        ("**APPLE**", "apple"),
        ("A passion \n fruit!", "passion fruit"),
        ("West Virginia, not Virginia", "West Virginia"),
        ("the st. lawrence", "St. Lawrence"),
        ("It is 12.", "12"),
        ("12.5", None),
        ("3,12", None),
        ("112", None),
        ("pineapple", None),
        ("SS", "ß"),
        ("", None),
        ("x" * 1000 + " apple", None),
    ],
)
def test_what_is_named(text: str, name: str | None) -> None:
    assert LISTED.find(Prompt.of_text("p", "Name one:", references=NAMES), text) == name


def test_what_the_prompt_names_is_no_answer() -> None:
    prompt = Prompt.of_text("p", "Name an even number from 10 to 99:", references=("10", "12"))
    assert LISTED.find(prompt, "A number from 10 to 99 is 12") == "12"
    assert LISTED.find(prompt, "10") is None


def test_a_prompt_without_a_list_has_no_answer() -> None:
    assert LISTED.find(Prompt.of_text("p", "Name one:"), "apple") is None


def test_names_are_the_same_without_regard_to_case() -> None:
    assert LISTED.equal([("Nile", "nile"), ("Nile", "Niger")]) == [True, False]


def test_every_listed_answer_is_found_as_itself() -> None:
    """No name hides another, and none is swallowed by its question."""
    for prompt in load_task("short-answers").load():
        assert len(set(map(str.casefold, prompt.references))) == len(prompt.references)
        for name in prompt.references:
            assert LISTED.find(prompt, f"{name}.") == name
