"""Which programs are the same, by hand."""

from __future__ import annotations

import importlib.util

import pytest

import tofu_eval as te
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.programs import program_of

ADD = "```python\ndef add(a, b):\n    return a + b\n```"
SAME = [
    "So:\n\n```py\ndef plus(x: int, y: int) -> int:\n    '''Sum.'''\n    return x+y  # sum\n```",
    "~~~python\n'''A module.'''\ndef f(first,\n      second):\n    return (first + second)\n~~~",
    "```\ndef add(a, b):\n    return a + b",  # it stopped before its end
    "def add(a, b):\n    return a + b",
]
OTHER = [
    "```python\ndef add(a, b):\n    return b + a\n```",
    "```python\ndef add(a, b):\n    return sum([a, b])\n```",
    "```python\ndef add(a, b):\n    return a - b\n```",
    "```python\ndef add(a, b)\n    return a + b\n```",  # no Python
    "I cannot.",
    "",
]


@pytest.mark.parametrize("response", SAME)
def test_the_same_program(response: str) -> None:
    assert program_of(response) == program_of(ADD)


def test_other_programs() -> None:
    assert len({program_of(text) for text in [ADD, *OTHER]}) == 1 + len(OTHER)


def test_names_of_others_count() -> None:
    assert program_of("print(min(3, 4))") != program_of("print(max(3, 4))")
    assert program_of("x.a()") != program_of("x.b()")
    assert program_of("import os") != program_of("import re")


@pytest.mark.parametrize(
    "code", ["(" * 5000, "x = " + "-" * 90_000 + "1", "a\0b", "'\\d'", "1 +" * 9000, "\ud800 = 1"]
)
def test_whatever_is_written_there_gives_an_answer(code: str) -> None:
    assert program_of(f"```python\n{code}\n```") != program_of(ADD)


@pytest.mark.skipif(
    not importlib.util.find_spec("tree_sitter_javascript"),
    reason="tree-sitter-javascript is not installed",
)
def test_another_language() -> None:
    one = program_of("```js\nconst f = (a) => a + 1; // more\n```")
    assert one == program_of("```javascript\nconst f =\n  (a) => a + 1;\n```")
    assert one != program_of("```js\nconst f = (a) => a + 2;\n```")


def test_classes_are_programs() -> None:
    group = Group(Prompt.of_text("p", "Add."), (ADD, *SAME, *OTHER[:3]), "base", "t")
    made = te.score([group], metrics=["distinct_k"], equivalence={"method": "program"})
    assert made.scores.to_pylist()[0]["value"] == 4
