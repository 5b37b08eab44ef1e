"""Answers found and compared: pairs made by hand, equal and unequal."""

from __future__ import annotations

import pytest
from support.answer_pairs import DIFFERENT, EQUAL

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers import VERIFIERS
from tofu_eval.features.answers.find import LONGEST, final_answer, find_said

MATH = VERIFIERS.get("math")
PROMPT = Prompt.of_text("p", "How many?")


def rows(table: dict[str, list[tuple[str, str]]]) -> list[object]:
    return [
        pytest.param(text, gold, id=f"{kind}-{number}")
        for kind, pairs in table.items()
        for number, (text, gold) in enumerate(pairs)
    ]


def verdict(text: str, gold: str) -> bool | None:
    answer = MATH.find(PROMPT, text)
    assert answer is not None
    (told,) = MATH.equal([(answer, gold)])
    return told


def test_the_table_is_large_and_no_pair_stands_twice() -> None:
    pairs = [pair for table in (EQUAL, DIFFERENT) for kind in table.values() for pair in kind]
    assert len(pairs) >= 150
    assert len(set(pairs)) == len(pairs)
    assert EQUAL.keys() == DIFFERENT.keys()


@pytest.mark.parametrize(("text", "gold"), rows(EQUAL))
def test_equal(text: str, gold: str) -> None:
    assert verdict(text, gold) is True


@pytest.mark.parametrize(("text", "gold"), rows(DIFFERENT))
def test_different(text: str, gold: str) -> None:
    assert verdict(text, gold) is False


def test_many_pairs_at_once_are_told_in_order() -> None:
    pairs = [(r"\sqrt{8}", r"2\sqrt{2}"), ("1", "2"), (r"\sqrt{8}", r"2\sqrt{2}"), ("x+x", "2x")]
    assert MATH.equal(pairs) == [True, False, True, True]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Thus \boxed{5} #### 6. The answer is 7. 8", "5"),  # 1 before 2, 3 and 4
        ("The answer is 7. 8\n#### 6", "6"),
        ("The answer is 7. See page 8", "7"),
        ("I count 7, then 8", "8"),
        ("The answer is 3.5. So 4", "3.5"),
        ("An answer: 1\nFinal answer: 2", "2"),
        ("My answer to the question is $x^2$, clearly.", "x^2"),
        ("The answer is the number $12$, as $3$ is not", "3"),
        ("Profit: $1,234.50", "$1,234.50"),
        ("10-5", "5"),
        ("(3) -4", "-4"),
        ("about 1/2 of 30%", "30%"),
        (r"\{\boxed{a}\}", "a"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"\boxed{}", None),
        ("I do not know.", None),
        ("", None),
        ("The answer is", None),
        (rf"\boxed{{{'1' * (LONGEST + 1)}}}", None),
    ],
)
def test_the_rules_of_extraction(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_what_is_said_last_counts_where_it_says_something() -> None:
    assert find_said("The answer is 4. What answer is") == "4"


def test_what_is_no_formula_cannot_be_read() -> None:
    assert MATH.equal([(r"\frac{1}{", "3"), ("))((", "x+1"), (r"\frac{1}{0}", "0")]) == [
        None,
        None,
        False,
    ]


def test_a_reference_may_be_a_whole_solution() -> None:
    assert MATH.equal([("72", "48 + 24 = 72\n#### 72"), ("5", r"So $x=\boxed{5}$.")]) == [True] * 2
