from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from support.boards import A, manifest_of, means, study

from tofu_eval.core.errors import DataError, StoreError
from tofu_eval.leaderboard import (
    Board,
    board_of_run,
    build_leaderboard,
    read_leaderboard,
    write_leaderboard,
)
from tofu_eval.leaderboard.merge_ids import model_id
from tofu_eval.leaderboard.schema import CURRENT, content_hash, schema_text


def test_the_schema_is_a_schema_with_a_name() -> None:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:tofu-eval:leaderboard:{CURRENT}"


def test_any_validator_takes_a_board(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    content = json.loads(path.read_text("utf-8"))
    Draft202012Validator(json.loads(schema_text())).validate(content)
    # What an editor wants is no part of the content.
    path.write_text(json.dumps({"$schema": "urn:tofu-eval:leaderboard:3", **content}), "utf-8")
    assert read_leaderboard(path) == board


def test_a_row_is_said_in_words_that_columns_can_be_held_against() -> None:
    # _columns_hold tries each distinct value alone, and of floats the smallest and largest.
    row = json.loads(schema_text())["properties"]["rows"]["items"]
    assert set(row) == {"type", "additionalProperties", "required", "properties"}
    assert sorted(row["required"]) == sorted(row["properties"])
    for field in row["properties"].values():
        assert set(field) <= {"description", "type", "minimum", "maximum", "minLength"}


def test_what_is_written_is_read(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "new" / "leaderboard.json"
    write_leaderboard(path, board)
    assert read_leaderboard(path) == board
    assert json.loads(path.read_text("utf-8"))["hash"] == board.hash
    assert [file.name for file in path.parent.iterdir()] == ["leaderboard.json"]


def test_a_line_an_item(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    lines = path.read_text("utf-8").splitlines()
    assert sum('"signature": ' in line for line in lines) == len(board.rows)


def test_the_hash_is_that_of_rfc_8785(tmp_path: Path) -> None:
    # By hand: keys sorted, no spaces, 1.0 as 1, text as UTF-8;
    # printf '{"a":"é","b":1}' | sha256sum
    assert content_hash({"hash": "x", "b": 1.0, "a": "é"}) == (
        "sha256:aa58fba8483623bed37c1b02edfccbdd9a53123837c20bfa4cb4049993a2872e"
    )


def test_what_a_board_holds(board: Board) -> None:
    content = board.to_json()
    base, theirs = (model.id for model in sorted(board.models, key=lambda model: model.name))
    (task,) = board.tasks
    assert content["runs"] == [
        {
            "id": "00000000000000aa",
            "tool": {"name": "tofu-eval", "version": "0.1.0", "git_revision": None},
            "created": "2026-03-01T12:30:00+00:00",
            "finished": "2026-03-01T13:00:00+00:00",
            "seed": 0,
            "by": None,
            "machines": [{"system": "Linux", "processor": "x86_64", "cores": 2}],
            "packages": {"python": "3.11.7", "tofu-eval": "0.1.0"},
            "seconds": {"generate base": 60.5, "score": 2.5},
            "cells": sorted(
                [
                    {"model": base, "task": task.id, "prompt_format": "base", "tokens": 1200},
                    {"model": theirs, "task": task.id, "prompt_format": None, "tokens": None},
                ],
                key=lambda cell: str(cell["model"]),
            ),
        }
    ]
    assert task.name == "open-prompts"
    assert re.fullmatch(r"open-prompts#[0-9a-f]{8}", task.id)
    assert re.fullmatch(r"[0-9a-f]{16}", base)
    assert board.metric_by_id["self_bleu"].range == ("0", "100")
    row = next(row for row in board.rows if row.model == base and row.metric == "vendi")
    assert (row.run, row.task) == ("00000000000000aa", task.id)
    assert (row.value, row.low, row.high, row.n, row.undefined) == (4.5, 4.25, 4.75, 59, 1)
    assert (row.rank, row.unranked) == (None, "not all rows that compare have per-prompt rows")
    assert "of another scoring" not in board.metric_by_id


def test_an_id_says_what_a_model_is(estimates: Any, manifest: dict[str, Any]) -> None:
    first = build_leaderboard(estimates, manifest)
    theirs = manifest["models"]["theirs"]
    theirs["identity"] = {"file": "elsewhere/other.jsonl", "rows": 600}
    again = build_leaderboard(estimates, manifest)
    assert again.models == first.models  # the same responses from another file
    theirs["identity"] = {"rows": 601}
    other = build_leaderboard(estimates, manifest)
    assert len({model.id for model in (*other.models, *first.models)}) == 3


def test_one_model_under_two_names_of_a_run_stands_once(manifest: dict[str, Any]) -> None:
    scores = study({"a": 1.0})
    twin = scores.set_column(0, "model", pa.array(["b"] * len(scores)))
    both = pa.concat_tables([scores, twin.cast(scores.schema)])
    told = manifest_of(manifest, A, "a", "b")
    told["models"]["b"]["identity"] = told["models"]["a"]["identity"]
    made = board_of_run(means(both), told, both)
    (model,) = made.board.models
    assert (model.name, model.aliases, model.label) == ("a", ("b",), "")
    assert len(made.board.rows) == 1
    assert made.scores is not None
    assert len(made.scores) == len(scores)


def test_two_models_that_only_their_names_tell_apart(manifest: dict[str, Any]) -> None:
    scores = study({"a": 1.0, "b": 3.0})  # of one file, say
    told = manifest_of(manifest, A, "a", "b")
    told["models"]["b"]["identity"] = told["models"]["a"]["identity"]
    board = board_of_run(means(scores), told, scores).board
    assert sorted(model.label for model in board.models) == ["a", "b"]
    assert len(board.rows) == 2


def test_a_manifest_with_a_part_missing_is_named(estimates: Any, manifest: dict[str, Any]) -> None:
    del manifest["tasks"]["open-prompts"]["digest"]
    with pytest.raises(DataError, match=r"run\.json .*lacks 'digest'"):
        build_leaderboard(estimates, manifest)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("forged", [False, True])
def test_the_documented_check_in_another_language(
    board: Board, tmp_path: Path, forged: bool
) -> None:
    """docs/leaderboard.md has it; it must agree with ours, also on what is hard to write."""
    identity = {"10": 1e21, "9": 0.1, "é": "\U0001f600", "deep": [{"b": -0.0, "a": 1.0}]}
    model = replace(board.models[0], identity=identity)
    model = replace(model, id=model_id(model))
    rows = [replace(row, model=model.id) for row in board.rows if row.model == board.models[0].id]
    cells = (replace(board.runs[0].cells[0], model=model.id),)
    run = replace(board.runs[0], cells=cells)
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, replace(board, models=(model,), rows=tuple(rows), runs=(run,)))
    if forged:
        path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 1'), "utf-8")
    docs = Path(__file__).parents[2] / "docs" / "leaderboard.md"
    (script,) = re.findall(r"```js\n(.*?)```", docs.read_text("utf-8"), re.DOTALL)
    assert len(script.splitlines()) <= 10
    done = subprocess.run(
        ["node", "-e", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("changed" if forged else "valid")


def test_a_byte_order_mark_and_windows_line_ends_are_read(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    text = json.dumps(json.loads(path.read_text("utf-8")), indent=2).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_leaderboard(path) == board


def test_a_file_that_is_not_there(board: Board, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the leaderboard .*no.json: No such file"):
        read_leaderboard(tmp_path / "no.json")
    with pytest.raises(DataError, match=r"Is a directory\. Make one"):
        read_leaderboard(tmp_path)
    write_leaderboard(tmp_path / "leaderboard.json", board)
    with pytest.raises(DataError, match=r"Is a directory\. Name the board in it: .*/leaderboard.j"):
        read_leaderboard(tmp_path)


def test_what_json_cannot_say_is_not_written(board: Board, tmp_path: Path) -> None:
    model = replace(board.models[0], identity={"path": tmp_path})
    path = tmp_path / "leaderboard.json"
    with pytest.raises(DataError, match=r"leaderboard.json cannot be made: .* not JSON serial"):
        write_leaderboard(path, replace(board, models=(model, *board.models[1:])))
    assert not path.exists()


def test_a_failed_write_keeps_the_old_file(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_leaderboard(path, replace(board, rows=()))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["leaderboard.json"]
