"""The package as people import it: `import tofu_eval as te`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def groups() -> list[te.Group]:
    """A base that says eight things and an sft that says two, on 24 prompts."""
    draw = random.Random(0)
    prompts = [te.Prompt.of_text(f"p{i}", f"Name fruit {i}.") for i in range(24)]
    return [
        te.Group(prompt, tuple(draw.choice(words) for _ in range(6)), model=model)
        for model, words in (("base", "abcdefgh"), ("sft", "ab"))
        for prompt in prompts
    ]


def test_scores_in_memory_are_compared(groups: list[te.Group]) -> None:
    result = te.score(groups, metrics=["unique_rate", "self_bleu"])
    comparison = te.compare(result, "base")
    assert comparison.sentence.startswith("Compared with base, sft is narrower")
    assert "sft: narrower" in repr(comparison)
    assert "<table" in comparison._repr_html_()
    frame = comparison.to_pandas()
    assert set(frame["model"]) == {"base", "sft"}
    with pytest.raises(ConfigError, match="no run directory"):
        te.open_run(result)
    assert [row.metric for row in te.compare(result, metrics=["self_bleu"]).rows] == ["self_bleu"]
    with pytest.raises(UnknownNameError, match="Unknown task 't'"):
        te.compare(result, tasks=["t"])
    with pytest.raises(UnknownNameError, match="bse"):
        te.compare(result, "bse")


def test_a_run_is_compared_and_reported(groups: list[te.Group], tmp_path: Path) -> None:
    import json

    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": g.prompt.text, "model": g.model, "responses": g.texts} for g in groups]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = te.score_files([(None, file)], tmp_path / "run", metrics=["unique_rate"])
    run = te.open_run(result)
    assert te.open_run(run) is run
    one, other = te.compare(result, "base"), te.compare(tmp_path / "run", "base")
    assert one.sentence == other.sentence
    assert "narrower" in one.sentence
    page = te.write_report(run)
    assert page == tmp_path / "run" / "report.html"
    assert "narrower" in page.read_text("utf-8")
    board = te.build_board(run, tmp_path / "board.json")
    assert {model.name for model in board.models} == {"base", "sft"}
    assert te.merge_boards([tmp_path / "board.json"] * 2).rows == board.rows
    changes = te.publish_board(tmp_path / "board.json", to=tmp_path / "public", page=True)
    assert (tmp_path / "public" / "index.html").read_text("utf-8").startswith("<!doctype html>")
    assert changes.added == len(board.rows)
    with pytest.raises(ConfigError, match="one place"):
        te.publish_board(board)
    with pytest.raises(ConfigError, match="'both' got base"):
        te.compare(run, series={"both": ["base"]})


def test_what_is_no_run_no_board_and_no_group_is_one_line() -> None:
    with pytest.raises(ConfigError, match="no groups"):
        te.score([])
    with pytest.raises(ConfigError, match=r"Expected one run .* got \['runs/x'\]"):
        te.compare(["runs/x"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="No boards"):
        te.merge_boards([])


def test_training_takes_keywords(base: Path, rows: Path, tmp_path: Path) -> None:
    result = te.train(
        str(base), rows, tmp_path / "tofu", loss="tofu", format="base",
        sft={"max_steps": 1, "per_device_train_batch_size": 4, "save_strategy": "no"},
    )  # fmt: skip
    assert result.steps == 1
    with pytest.raises(UnknownNameError, match="toffu"):
        te.train(str(base), rows, tmp_path / "x", loss="toffu")


def test_the_keywords_are_the_settings() -> None:
    from tofu_eval.core.config import Scoring, Settings
    from tofu_eval.core.options import RunOptions, ScoringOptions
    from tofu_eval.core.sections import name_of
    from tofu_eval.features.base import sections

    own = {name_of(kind) for kind in sections() if kind.__module__.startswith("tofu_eval.")}
    assert set(ScoringOptions.__annotations__) == {*Scoring.model_fields, *own}
    assert set(RunOptions.__annotations__) == {*Settings.model_fields, *own}


def test_a_result_shows_itself(groups: list[te.Group]) -> None:
    result = te.score(groups, metrics=["unique_rate", "self_bleu"])
    lines = repr(result).splitlines()
    assert lines[0].startswith("Result: 2 models, 1 task, 2 metrics. Compare: te.compare(")
    assert len(lines) == 2 + 4
    assert max(map(len, lines)) < 100
    page = result._repr_html_()
    assert page.count("<tr>") == 1 + 4
    assert "unique_rate" in page


def test_a_result_shows_names_of_others_as_text() -> None:
    prompt = te.Prompt.of_text("p", "Name it.")
    group = te.Group(prompt, ("a", "b"), model="<b>m\x1b[31m</b>")
    result = te.score([group], metrics=["unique_rate"])
    assert "<b>" not in result._repr_html_()
    assert "&lt;b&gt;m" in result._repr_html_()
    assert "\x1b" not in repr(result)
