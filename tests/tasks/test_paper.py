"""The suite `paper` beside the paper's own code: structure, not sentences.

The structure below is what its formatter gave for ten rows of each set (rows of our own, in the
columns of the sets; its repository is rsklypa/TOFU at 1bf062c):

    git --git-dir=TOFU/.git archive 1bf062c data | tar xf -
    python -c "from data import formatting as F; …"   # datasets.load_dataset gives the ten rows

that is, the delimiters with the white space around them, in their order.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.config import Settings
from tofu_eval.core.types import Prompt
from tofu_eval.features.answers.letter import letter
from tofu_eval.pipeline.plan import remark_on_published
from tofu_eval.tasks import load_format, load_suite, load_task, render

DELIMITERS = re.compile(r"\s*<\|/?\w+\|>\s*")
INSTRUCT = [" \n<|instruct|> \n", " \n<|/instruct|> \n\n", " \n<|input|> \n \n",
            "<|/input|> \n\n", " \n<|response|>\n"]  # fmt: skip
WITH_INPUT = [*INSTRUCT[:2], " \n<|input|> \n", " \n<|/input|> \n\n", INSTRUCT[-1]]
MATHEMATICS = [" \n<|problem|> \n", " \n<|/problem|> \n\n", " \n<|solution|>\n"]
CASES = (
    Path(
        os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
    ).parent
    / "cases"
)


def texts(name: str, tmp_path: Path, rows: list[dict[str, Any]], format: str) -> list[str]:
    """The prompts of a task as a model gets them, from rows of our own."""
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(name, tmp_path)
    return [str(render(prompt, format, task=task)[0]) for prompt in task.load()]


def rows(**row: Any) -> list[dict[str, Any]]:
    return [
        {k: v.format(i) if isinstance(v, str) else v for k, v in row.items()} for i in range(10)
    ]


@pytest.mark.parametrize(
    ("name", "of_rows"),
    [
        ("novelty-bench-curated", rows(prompt=" Tell {} ", id="{}")),
        ("short-stories", rows(prompt=" Once {}\n", response="x")),
        ("small-prompts", rows(instruction=" Name {} ")),
        ("malicious-instruct", rows(prompt=" x{} ")),
        ("harmbench", rows(prompt=" x{} ")),
        ("mmlu-letter", rows(question=" Q{}? ", choices=[" a ", "b"], answer=1, subject="s")),
    ],
)
def test_instructions(name: str, of_rows: list[dict[str, Any]], tmp_path: Path) -> None:
    made = texts(name, tmp_path, of_rows, "paper")
    assert len(made) == 10
    for i, text in enumerate(made):
        assert DELIMITERS.findall(text) == INSTRUCT
        assert text.startswith("\n")
        inner = text.split("<|instruct|> \n")[1].split(" \n<|/instruct|>")[0]
        assert inner == inner.strip()
        assert str(i) in inner


def test_mathematics(tmp_path: Path) -> None:
    math = rows(problem=" P{} ", answer="4", unique_id="u{}", subject="s", level=1)
    for text in texts("math-500", tmp_path, math, "paper-math"):
        assert DELIMITERS.findall(text) == MATHEMATICS
        assert re.search(r"<\|problem\|> \nP\d \n<\|/problem\|>", text)
        assert text.startswith("\n")


def test_the_separate_input() -> None:
    prompt = Prompt.of_text("1", " Do it. ", metadata={"input": " with this "})
    text, _ = render(prompt, "paper")
    assert DELIMITERS.findall(str(text)) == WITH_INPUT
    assert "<|input|> \nwith this \n<|/input|>" in str(text)


def test_closing() -> None:
    paper, mathematics = load_format("paper"), load_format("paper-math")
    assert (paper.stop, mathematics.stop) == (("<|/response|>",), ("<|/solution|>",))
    assert paper.complete(" Done.\n") == " Done. \n<|/response|>\n"
    assert mathematics.complete(" 4 ") == " 4 \n<|/solution|>\n"
    assert load_format("sft").complete(" a ") == " a "


def test_letters_of_the_choices(tmp_path: Path) -> None:
    mmlu = rows(question="Q?", choices=[" a ", "b", "c", "d"], answer=3, subject="s")
    text = texts("mmlu-letter", tmp_path, mmlu, "paper")[0]
    assert re.findall(r"^(\w\) \w)", text, re.MULTILINE) == ["A) a", "B) b", "C) c", "D) d"]
    arc = rows(
        id="i{}", question="Q?", choices={"text": ["a ", "b"], "label": ["1", "2"]}, answerKey="2"
    )
    text = texts("arc-challenge-letter", tmp_path, arc, "paper")[0]
    assert re.findall(r"^(\w\) \w)", text, re.MULTILINE) == ["1) a", "2) b"]
    assert load_task("arc-challenge-letter", tmp_path).load()[0].references == ("2",)
    prompt = Prompt.of_text("1", "Q?")
    assert letter(prompt, "I say Answer: B, no, Answer: C") == "B"
    assert letter(prompt, "Answer:\n2") == "2"
    assert letter(prompt, "the answer is B") is None


def test_models_that_were_not_tuned(tmp_path: Path) -> None:
    assert texts("short-stories", tmp_path, rows(prompt=" Once {}\n"), "base")[3] == "Once 3"
    small = texts("small-prompts", tmp_path, rows(instruction=" Name {} "), "base")[3]
    assert small.startswith("Name 3 ")
    assert small.endswith(": ")  # an opening, and the space behind it


def test_a_blank_row_is_left_out(tmp_path: Path) -> None:
    blank = [*rows(prompt="Once {}"), {"prompt": "  "}, {"prompt": None}]
    assert len(texts("short-stories", tmp_path, blank, "base")) == 10
    file = CASES / "text" / "short-stories-with-blank-row.jsonl"
    if not file.is_file():
        pytest.skip(f"no {file}: set TOFU_EVAL_SHARED_DATA")
    lines = file.read_text("utf-8").splitlines()
    (tmp_path / "short-stories.jsonl").write_text(file.read_text("utf-8"))
    kept = load_task("short-stories", tmp_path).load()
    assert len(kept) == sum(bool((json.loads(line)["prompt"] or "").strip()) for line in lines)
    assert len(kept) < len(lines)


def test_the_suite_asks_in_these_formats() -> None:
    formats = {task.name: task.format for task in load_suite("paper")}
    mathematics = {"gsm8k", "math-500", "minerva-math"}
    assert {name for name, format in formats.items() if format == "paper-math"} == mathematics
    assert set(formats.values()) == {"paper", "paper-math"}


def test_the_papers_own_adapters_want_their_own_words() -> None:
    models = {"a": "org/base+TOFU-SFT/x-tofu", "b": "org/base", "c": "TOFU-SFT/y"}
    said = remark_on_published(models, Settings(format={"c": "mine.jinja", "a": "paper"}))
    assert len(said) == 1
    assert said[0].startswith("a: the paper's adapters were tuned on prompts of other words")
