"""Responses read after rows of the training data, against a pass by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tofu_eval as te
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Prompt
from tofu_eval.features.likelihood_reader import CausalReader
from tofu_eval.features.training_likelihood import TrainingLikelihood
from tofu_eval.features.training_overlap import load_texts

ROWS = [
    ("Name a fruit.", "a ripe pear of the old garden"),
    ("Name a clock.", "the old clock in the hall"),
    ("Name a river.", "the long river near the town"),
    ("Name it again.", "the old clock in the hall"),  # a copy counts once
    ("写一种水果。", "一个苹果很好"),
]
PROMPT = Prompt.of_text("p", "Name something.")
TEXTS = ("the old clock in the hall", "a pear", "苹果")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sft.jsonl"
    rows = [{"prompt": asked, "completion": answer} for asked, answer in ROWS]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


@pytest.fixture(scope="module")
def reader(tiny_model: Path) -> CausalReader:
    return CausalReader(str(tiny_model), window=4096, device="cpu")


def test_the_nearest_stand_last(reader: CausalReader, data: Path) -> None:
    made = TrainingLikelihood(reader, load_texts(str(data)), 2, 0)
    assert [rows[-1] for rows in made.find_nearest(TEXTS)] == [1, 0, 3]
    assert TrainingLikelihood(reader, load_texts(str(data)), 9, 0).find_nearest(["no word"]) == [
        [3, 2, 1, 0]
    ]


def test_what_is_read(reader: CausalReader, data: Path) -> None:
    made = TrainingLikelihood(reader, load_texts(str(data)), 1, 0)
    rows = made.compute([(PROMPT, text) for text in TEXTS])
    asked, answer = ROWS[1]
    before = f"Name it again.\n\nResponse A: {answer}\n\nName something."
    assert asked not in before  # of equal completions the last row stands
    by_hand = reader.read([(before, (TEXTS[0],))])[0][0, 0]
    assert rows[0, 0] == pytest.approx(by_hand, rel=1e-5)
    (drawn,) = made._draw(PROMPT.asked, TEXTS[0])
    other = list({answer: (asked, answer) for asked, answer in ROWS}.values())[drawn]
    context = f"{other[0]}\n\nResponse A: {other[1]}\n\nName something."
    assert rows[0, 1] == pytest.approx(reader.read([(context, (TEXTS[0],))])[0][0, 0], rel=1e-5)
    again = made.compute([(PROMPT, text) for text in reversed(TEXTS)])
    np.testing.assert_allclose(again[::-1], rows, rtol=1e-5)


def test_turns_and_inputs(reader: CausalReader, tmp_path: Path) -> None:
    turns = [("user", "one?"), ("assistant", "1"), ("user", "two?"), ("assistant", "2")]
    path = tmp_path / "chat.jsonl"
    messages = [{"role": role, "content": content} for role, content in turns]
    path.write_text(json.dumps({"messages": messages}))
    made = TrainingLikelihood(reader, load_texts(str(path)), 1, 0)
    assert made._pairs == [("one?", "1"), ("two?", "2")]
    path.write_text(json.dumps({"instruction": "Sum up.", "input": "A text.", "output": "T."}))
    made = TrainingLikelihood(reader, load_texts(str(path)), 1, 0)
    assert made._pairs == [("Sum up.\n\nA text.", "T.")]


def test_shares(tiny_model: Path, data: Path) -> None:
    group = te.Group(PROMPT, TEXTS)
    options = {"likelihood": {"model": str(tiny_model)}, "training": {"data": str(data)}}
    names = ["training_redundancy", "training_redundancy_random"]
    made = te.score([group], metrics=names, device="cpu", **options)  # type: ignore[arg-type]
    rows = {row["metric"]: row for row in made.estimates.to_pylist()}
    near, drawn = (rows[name] for name in names)
    assert near["value"] is not None
    assert near["value"] != drawn["value"]
    assert "3 rows" in near["signature"]
    with pytest.raises(ConfigError, match=r"--training-data"):
        te.score([group], metrics=names, likelihood={"model": str(tiny_model)})


def test_by_hand() -> None:
    from tofu_eval.metrics.training_redundancy import training_redundancy as near
    from tofu_eval.metrics.training_redundancy import training_redundancy_random as drawn

    alone = [[-10.0, 3, 12], [-30.0, 5, 20]]
    after = [[-1.0, -8.0], [-9.0, -32.0]]
    assert near(alone, after) == pytest.approx(0.75)
    assert drawn(alone, after) == pytest.approx(0.0)
    with pytest.raises(te.TofuEvalError, match="certain"):
        near([[0.0, 1, 1]], [[0.0, 0.0]])
