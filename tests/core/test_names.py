"""Names become folders, on every system; ids are labels, not texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import refused

import tofu_eval as te
from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.names import LONGEST_ID, check_name


@pytest.mark.parametrize(
    "name", ["CON", "con", "nul.v2", "Aux", "com1", "LPT9.txt", "prn", "model.", "v1.."]
)
def test_names_that_windows_cannot_have(name: str) -> None:
    with pytest.raises(ConfigError, match="Windows can have no folder of that name"):
        check_name("model", name)


@pytest.mark.parametrize("name", ["console", "com10", "auxiliary", "nul-1", "v1.0", "lpt"])
def test_names_that_only_look_so(name: str) -> None:
    assert check_name("model", name) == name


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", ".", "-x", "a b", "x" * 3_000_000])
def test_names_that_no_folder_should_have(name: str) -> None:
    with pytest.raises(ConfigError, match="Invalid task name") as error:
        check_name("task", name)
    assert len(str(error.value)) < 400


def test_an_id_of_three_megabytes_is_refused_in_a_short_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"at most {LONGEST_ID} characters, got 3000000"):
        te.Prompt.of_text("x" * 3_000_000, "Name a fruit.")
    file = tmp_path / "rows.jsonl"
    row = {"id": "x" * 3_000_000, "prompt": "Name a fruit.", "responses": ["a", "b"]}
    file.write_text(json.dumps(row))
    line = refused("score", file, "--metric", "unique_rate", "--output", tmp_path / "run")
    assert "3000000" in line
    assert len(line) < 600
    assert not (tmp_path / "run").exists()


def test_two_names_that_one_folder_would_hold(tmp_path: Path) -> None:
    for name in ("base", "Base"):
        row = {"id": 1, "prompt": "Name a fruit.", "responses": ["a", "b"]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    files = (tmp_path / "base.jsonl", tmp_path / "Base.jsonl")
    line = refused("score", *files, "--metric", "unique_rate", "--output", tmp_path / "run")
    assert "'base' and 'Base' of a run would be one folder" in line
