"""What a page holds of the responses: thoughts, states, a map, the prompts that are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.reports import Look, score, written

from tofu_eval.cli import main
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import digest
from tofu_eval.report import read, responses
from tofu_eval.report.chosen_prompts import chosen_prompts
from tofu_eval.report.embedding_map import SIDE
from tofu_eval.run.store import Run

LONG_ONE = "The quick brown fox jumps over the lazy dog near the old river bank today"
LONG_OTHER = "The quick brown fox jumps over the lazy cat near the old river bank today"
SAID = [
    f"<think>A fox <b>always</b> does.</think>{LONG_ONE}",
    {"text": LONG_OTHER, "finish_reason": "length"},
    "Something else entirely was said here",
    {"text": "", "finish_reason": "content_filter"},
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on three prompts, with thoughts, and embeddings as a run keeps them."""
    rows = [
        {"id": f"p{i}", "prompt": f"Say {i}.", "model": model, "responses": SAID}
        for model in ("base", "sft")
        for i in range(3)
    ]
    path = score(tmp_path_factory.mktemp("told") / "told", rows, metrics=["unique_rate"])
    identity = {"kind": "by hand"}
    manifest = json.loads((path / "run.json").read_text())
    manifest["features"]["embedding"] = {"identity": identity, "truncated": 0}
    (path / "run.json").write_text(json.dumps(manifest))
    texts = [LONG_ONE, LONG_OTHER, SAID[2], *(f"Say {i}." for i in range(3))]
    vectors = np.eye(6, 5, dtype=np.float32)
    vectors[:3] = [[1, 0, 0, 0.1, 0], [1, 0.1, 0, 0, 0], [0, 0, 1, 0, 0]]
    vectors[3:] = [0, 0, 0, 0, 1]
    with Run.writing(path) as run:
        run.features("embedding", digest(identity)).add([digest(text) for text in texts], vectors)
    return path


@pytest.fixture(scope="module")
def record(told: Path) -> dict[str, Any]:
    return dict(read(Run.open(told)).survey.texts["responses"][0])


def test_thoughts_and_states_stand_beside_the_text(record: dict[str, Any]) -> None:
    assert record["thoughts"] == [{"0": "A fox <b>always</b> does."}] * 2
    assert record["long"] == [[1], [1]]
    assert record["without"] == [{"filtered": 1}] * 2
    assert record["samples"] == [[0, 1, 2]] * 2


def test_a_map_keeps_near_what_is_alike(record: dict[str, Any]) -> None:
    points = np.array(record["map"]["points"])
    assert points.shape == (3, 2)
    assert ((points >= 0) & (points <= SIDE)).all()
    near, far = np.linalg.norm(points[0] - points[1]), np.linalg.norm(points[0] - points[2])
    assert near < far / 5
    assert 0.99 < record["map"]["share"] <= 1  # three points lie in a plane


def test_embeddings_make_classes_to_look_at_where_there_is_no_equivalence(
    record: dict[str, Any],
) -> None:
    assert record["meanings"] == [[0, 0, 1]] * 2
    assert record["classes"][0] == record["classes"][1]
    assert len(set(record["classes"][0])) == 3


def test_without_embeddings_there_is_no_map(run: Path) -> None:
    record = read(Run.open(run)).survey.texts["responses"][0]
    assert record["map"] is record["meanings"] is None


def test_the_page_folds_thoughts_and_marks_what_differs(look: Look, told: Path) -> None:
    page = look(written(told))
    column = page.locator(".column").first
    thought = column.locator(".thought")
    assert thought.locator(".text").is_hidden()
    thought.locator("summary").press("Enter")
    assert thought.locator(".text").inner_text() == "A fox <b>always</b> does."
    assert column.locator(".near").inner_text() == "nearly #1"
    assert column.locator("ins").all_inner_texts() == ["cat"]
    assert column.locator(".stopped").inner_text() == "cut at the token limit"
    assert column.locator(".without").inner_text() == "Without a text: 1 filtered."
    # Classes by meaning can be chosen; they are not what the run was scored with.
    classes = page.locator("#responses label", has_text="Classes").locator("select")
    assert classes.input_value() == "text"
    assert page.locator(".panel .share").first.inner_text().startswith(LONG_ONE[:20])
    assert column.locator("h4").inner_text().endswith("3 different of 3")
    classes.select_option("meaning")
    assert column.locator("h4").inner_text().endswith("2 different of 3")
    assert "no number stands on them" in page.locator("#responses .hint").first.inner_text()
    # The map leads to the texts, by mouse and by key.
    page.locator(".map path.point").nth(2).click(force=True)
    assert "Something else" in page.locator(".card:focus").inner_text()
    drawing = page.locator(".map > svg")
    drawing.press("ArrowLeft")
    assert page.locator(".map [role=status]").inner_text().startswith("sft #2: The quick")
    drawing.press("Enter")
    assert "lazy cat" in page.locator(".card:focus").inner_text()


def test_the_prompts_that_are_asked_for(told: Path, tmp_path: Path) -> None:
    run = Run.open(told)
    assert chosen_prompts(run, ["responses"], ["2-3", "p0"])["responses"] == {"p0", "p1", "p2"}
    assert chosen_prompts(run, ["responses"], ["3-99"])["responses"] == {"p2"}
    for wrong in ("0", "4", "p9", "3-2", "-1", "2-", "all"):
        with pytest.raises(ConfigError, match="--prompts takes ids, or places from 1 to 3"):
            chosen_prompts(run, ["responses"], [wrong])
    file = tmp_path / "two.html"
    asked = ["report", str(told), "--output", str(file), "--prompts", "p2", "--prompts", "1"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    held = json.loads(file.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
    assert [one["id"] for one in held["explorer"]["responses"]] == ["p0", "p2"]
    assert "The page shows 12 of 18 responses, those asked for" in file.read_text("utf-8")


def test_a_page_holds_so_many_responses_at_most(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SHOWN", 100)
    survey = read(Run.open(run)).survey
    assert survey.shown == 96  # four whole prompts of three models and eight responses
    assert len(survey.texts["responses"]) == 4
    assert any("at most 100" in note for note in survey.notes)
    again = read(Run.open(run)).survey
    assert again.texts == survey.texts


def test_a_long_tail_of_lengths_is_binned_by_ratio(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Say {i}.", "model": "base", "responses": ["x" * 10, "y" * 12, "z" * n]}
        for i, n in enumerate([11, 9, 4000])
    ]
    path = score(tmp_path / "tail", rows, metrics=["unique_rate"])
    bins = read(Run.open(path), responses=False).datasets["lengths"]
    assert all(one["log"] for one in bins)
    assert bins[0]["start"] == 1
    assert sum(one["share"] for one in bins) == pytest.approx(1)
    ratios = [one["end"] / one["start"] for one in bins[12:-1]]
    assert max(ratios) / min(ratios) < 1.25
