r"""The verifier `math`: the final answer of a solution, compared as mathematics."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import cache

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.algebra import Algebra, Pair
from tofu_eval.features.answers.base import verifier
from tofu_eval.features.answers.find import LONGEST, final_answer, marked_answer
from tofu_eval.features.answers.plain import (
    lone_number,
    number,
    same_number,
    strip_dress,
    without_unit,
    words,
)


@cache
def algebra() -> Algebra:
    """The processes that compare formulas: one set, which lives as long as this process."""
    made = Algebra()
    atexit.register(made.close)
    return made


def equal_mathematics(pairs: Sequence[Pair]) -> list[bool | None]:
    r"""Whether an answer and a reference are the same; None where the answer cannot be read.

    A reference may be a whole solution, whose answer is in its last box or behind its `####`.
    Without algebra: equal texts; two numbers (whole ones exactly, others up to 1e-6 of the larger);
    words and phrases, without case and articles; a number with a unit, where a unit on one side
    only counts for nothing and two units must agree; a phrase with a single number beside a
    number. All else goes to math-verify: sympy's equality of expressions, sets, intervals,
    matrices, equations, and of decimals up to six places; `50\%` equals both 0.5 and 50.

    Raises:
        MissingDependencyError: math-verify is not installed and would be asked.
    """
    tidied = [
        (strip_dress(answer[:LONGEST]), strip_dress(_gold(reference)))
        for answer, reference in pairs
    ]
    verdicts = [decide_plainly(*pair) for pair in tidied]
    left = [i for i, verdict in enumerate(verdicts) if verdict is None]
    asked = list(dict.fromkeys(_formulas(*tidied[i]) for i in left))
    told = dict(zip(asked, algebra().equal(asked) if asked else (), strict=True))
    for i in left:
        verdicts[i] = told[_formulas(*tidied[i])]
    return verdicts


@verifier(name="math", version=1, equal=equal_mathematics)
def mathematics(prompt: Prompt, text: str) -> str | None:
    """The final answer of a solution; see `find.final_answer` for the rules."""
    return final_answer(text)


def decide_plainly(answer: str, reference: str) -> bool | None:
    """Whether two tidy answers are the same, where that needs no algebra; else None."""
    if answer.replace(" ", "") == reference.replace(" ", ""):
        return True
    phrases = words(answer), words(reference)
    if None not in phrases:
        return phrases[0] == phrases[1]
    (one, unit), (other, other_unit) = without_unit(answer), without_unit(reference)
    if unit and other_unit and unit != other_unit:
        return False
    values = number(one), number(other)
    for place, text in enumerate((answer, reference)):
        if values[place] is None and values[1 - place] is not None:
            lone = lone_number(text)
            if lone is not None:
                values = (lone, values[1]) if place == 0 else (values[0], lone)
    if values[0] is not None and values[1] is not None:
        return same_number(values[0], values[1])
    if any(phrases) and any(value is not None for value in values):
        return False  # a word beside a number
    return None


def _formulas(answer: str, reference: str) -> Pair:
    return without_unit(answer)[0], without_unit(reference)[0]


def _gold(reference: str) -> str:
    marked = marked_answer(reference)
    return (reference if marked is None else marked).strip()[:LONGEST]
