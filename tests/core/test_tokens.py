"""n-grams of several texts against a dictionary of tuples."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tofu_eval.core.tokens import Tokens

ROWS = [
    [*map(str, row)]
    for row in ([1, 2, 1, 2, 1], [], [2, 1, 2], [3], [1, 2, 1, 2, 1, 2, 3], [0, 0, 0, 0, 0])
]


def number_ngrams(rows: list[list[str]], n: int) -> tuple[list[int], int]:
    """A number an n-gram in the order of their first use, -1 where none begins."""
    known: dict[tuple[str, ...], int] = {}
    numbers = [
        known.setdefault(tuple(row[i : i + n]), len(known)) if i + n <= len(row) else -1
        for row in rows
        for i in range(len(row))
    ]
    return numbers, len(known)


@pytest.mark.parametrize("order", [*permutations((1, 2, 3, 6))])
def test_ngrams_are_numbered_whichever_are_asked_for_first(order: tuple[int, ...]) -> None:
    tokens = Tokens.of(ROWS)
    for n in order:
        numbers, different = tokens.ngrams(n)
        assert (numbers.tolist(), different) == number_ngrams(ROWS, n)


def test_ngrams_of_some_of_the_texts() -> None:
    whole = Tokens.of(ROWS)
    for keep in ([4, 0], [1], [2, 2, 5]):
        some = [ROWS[i] for i in keep]
        for n in (3, 1, 2):
            numbers, different = whole.take(keep).ngrams(n)
            assert (numbers.tolist(), different) == number_ngrams(some, n)


def test_many_ngrams() -> None:
    rows = [[*map(str, np.random.default_rng(i).integers(0, 9, 200))] for i in range(20)]
    for n in (1, 4):
        numbers, different = Tokens.of(rows).ngrams(n)
        assert (numbers.tolist(), different) == number_ngrams(rows, n)
