from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.boards import A, manifest_of, means, study, with_row

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

FORGED = "sha256:" + "0" * 64


@pytest.fixture
def content(board: Board) -> dict[str, Any]:
    """What a file of the board holds, under a hash that is not its own.

    First two rows with a value, of which the first has an interval, then one without a value.
    """
    made = {**board.to_json(), "hash": FORGED}
    made["models"].sort(key=lambda model: model["name"])
    models = [model["id"] for model in made["models"]]
    made["rows"].sort(key=lambda row: (row["metric"] != "vendi", models.index(row["model"])))
    return made


REMEDY = " Undo the change, or make it again: run the command that made it."


def complaint(path: Path) -> str:
    """The one line that says what is wrong with a file, without the path and the remedy."""
    with pytest.raises(DataError) as caught:
        read_leaderboard(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert message.endswith(REMEDY)
    return message.removeprefix(str(path)).removesuffix(REMEDY)


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


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["schema_version"], 0, "$.schema_version: expected 3, got 0"),
        (["schema_version"], True, "$.schema_version: expected integer, got true"),
        (["runs", 0, "id"], "x", "$.runs[0].id: expected a text like "),
        (["runs", 0, "created"], "yesterday", "$.runs[0].created: expected a text like "),
        (["runs", 0, "created"], "2026-13-01T12:00:00Z", "$.runs[0].created: expected a time, got"),
        (["runs", 0, "finished"], "2026-01-01T12:00:00+02:00", ".finished: expected a text like "),
        (["runs", 0, "tool"], [], "$.runs[0].tool: expected object, got []"),
        (["runs", 0, "tool", "version"], "", "tool.version: expected a text that is not empty"),
        (["runs", 0, "tool", "extra"], 1, "$.runs[0].tool: the field \"extra\" is not known"),
        (["runs", 0, "seconds", "score"], -1, "$.runs[0].seconds.score: expected at least 0"),
        (["runs", 0, "cells", 0, "model"], "x", "$.runs[0].cells[0].model: expected one of the"),
        (["tasks", 0, "id"], "open-prompts#1", "$.tasks[0].id: expected a text like "),
        (["models", 0, "aliases"], ["x", "x"], "$.models[0].aliases: expected each item once"),
        (["tasks", 0, "package"], {"name": "x"}, "$.tasks[0].package: the field 'version' is"),
        (["scores"], [{"run": "x", "file": "../x.parquet", "sha256": "ab" * 32, "rows": 1}],
         "$.scores[0].file: "),
        (["scores"], [{"run": "x", "file": "x.parquet", "sha256": "ab" * 32, "rows": 1}],
         "$.scores[0].run: expected one of the runs listed"),
        (["rows", 0, "rank"], 1, "expected rank, rank_last, better_than, worse_than together"),
        (["rows", 0, "unranked"], None, "expected either a rank or why there is none"),
        (["rows", 0, "responses"], 0, "$.rows[0].responses: expected at least 1, got 0"),
        (["rows", 0, "run"], "x", "$.rows[0].run: expected one of the runs listed, got \"x\""),
        (["rows", 0, "n"], 2**60, "exceeds safe integer domain"),
        (["tasks", 0, "name"], "a/b", "$.tasks[0].name: expected a text like "),
        (["tasks", 0, "name"], "a\n", "$.tasks[0].name: expected a text like "),
        (["tasks", 0, "version"], 1.5, "$.tasks[0].version: expected integer, got 1.5"),
        (["tasks", 0, "digest"], "AB" * 32, "$.tasks[0].digest: expected a text like "),
        (["tasks", 0, "sampling", "top_p"], 0, "expected more than 0, got 0"),
        (["tasks", 0, "sampling", "top_p"], 2, "expected at most 1, got 2"),
        (["models", 0, "identity"], "x", "$.models[0].identity: expected object, got \"x\""),
        (["models", 0, "identity", "deep"], [1, [float("nan")]], "$.models[0].identity.deep[1][0]"),
        (["models", 0, "identity", "\ud800"], 1, "expected string, got \"\\ud800\""),
        (["metrics", 0, "direction"], "up", "expected one of [\"higher\", \"lower\", \"none\"]"),
        (["metrics", 0, "range"], ["0"], "$.metrics[0].range: expected 2 items"),
        (["rows", 0, "value"], "4.5", "$.rows[0].value: expected number or null, got \"4.5\""),
        (["rows", 0, "value"], True, "$.rows[0].value: expected number or null, got true"),
        (["rows", 0, "value"], float("nan"), "expected number or null, got NaN"),
        (["rows", 0, "high"], float("inf"), "$.rows[0].high: expected number or null, got Inf"),
        (["rows", 0, "value"], 10**310, "$.rows[0].value: expected number or null, got 1000"),
        (["rows", 0, "value"], 5.0, "$.rows[0]: expected low <= value <= high, got 4.25 <= 5.0"),
        (["rows", 0, "low"], None, "$.rows[0]: expected low and high together, got null and 4.75"),
        (["rows", 2, "value"], 1.0, "$.rows[2]: expected value null where n is 0"),
        (["rows", 0, "value"], None, "$.rows[0]: expected value null where n is 0"),
        (["rows", 0, "n"], -1, "$.rows[0].n: expected at least 0, got -1"),
        (["rows", 0, "method"], "\udc00", "$.rows[0].method: expected string, got"),
        (["rows", 0, "model"], "bse", "$.rows[0].model: expected one of the models listed"),
        (["rows", 0, "task"], "x", "$.rows[0].task: expected one of the tasks listed, got \"x\""),
        (["rows", 0, "metric"], "x", "$.rows[0].metric: expected one of the metrics listed"),
        (["rows"], {"a" * 500: 1}, "$.rows: expected array, got {\"aaa"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(
    content: dict[str, Any], tmp_path: Path, place: list[Any], value: Any, expected: str
) -> None:
    path = tmp_path / "leaderboard.json"
    target: Any = content
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    path.write_text(json.dumps(content), "utf-8")
    assert expected in complaint(path)


@pytest.mark.parametrize("noun", ["run", "model", "task", "metric"])
def test_nothing_stands_twice(content: dict[str, Any], tmp_path: Path, noun: str) -> None:
    path = tmp_path / "leaderboard.json"
    content[f"{noun}s"].append(content[f"{noun}s"][0])
    path.write_text(json.dumps(content), "utf-8")
    assert f"the {noun} " in (line := complaint(path))
    assert line.endswith("stands twice.")
    del content[f"{noun}s"][-1]
    content["rows"].append({**content["rows"][0], "n": 3})
    path.write_text(json.dumps(content), "utf-8")
    assert "$.rows[4]: the same run, model, task and metric as $.rows[0]" in complaint(path)


@pytest.mark.parametrize("noun", ["model", "task", "metric"])
def test_an_id_of_something_else_is_refused(
    content: dict[str, Any], tmp_path: Path, noun: str
) -> None:
    path = tmp_path / "leaderboard.json"
    fact, value = {
        "model": ("identity", {"files": {"w": "c1"}}),
        "task": ("digest", "cd" * 32),
        "metric": ("version", 2),
    }[noun]
    content[f"{noun}s"][0][fact] = value
    content["hash"] = content_hash(content)
    path.write_text(json.dumps(content), "utf-8")
    assert f"$.{noun}s[0].id: expected " in (line := complaint(path))
    assert "which is made of what it is" in line


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": float("nan")}, "value: expected number or null, got NaN"),
        ({"value": 5.0}, "expected low <= value <= high, got 4.25 <= 5.0"),
        ({"model": "0" * 16}, "model: expected one of the models listed"),
        ({"n": 2**60}, "exceeds safe integer domain"),
    ],
)
def test_nonsense_is_not_written(
    board: Board, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "leaderboard.json"
    place = next(i for i, row in enumerate(board.rows) if row.value == 4.5)
    with pytest.raises(DataError, match=re.escape(expected) + ".*Nothing is written"):
        write_leaderboard(path, with_row(board, place, **changes))
    assert not path.exists()


def _rank(*numbers: int) -> dict[str, Any]:
    names = ("rank", "rank_last", "better_than", "worse_than")
    return {**dict(zip(names, numbers, strict=True)), "unranked": None}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (_rank(9, 9, 0, 1), _rank(1, 1, 1, 0), "expected rank <= rank_last <= 2"),
        (_rank(2, 1, 0, 1), _rank(1, 1, 1, 0), "expected rank <= rank_last <= 2"),
        (_rank(2, 2, 0, 1), _rank(2, 2, 0, 1), "expected 1 rows of lower ranks, got 0"),
        (_rank(1, 2, 2, 0), _rank(1, 2, 0, 0), "expected at most 1 rows better and worse"),
        (_rank(1, 2, 1, 0), _rank(1, 2, 0, 0), "expected as many rows that are better as worse"),
    ],
)
def test_ranks_that_no_comparison_gives_are_refused(
    content: dict[str, Any],
    tmp_path: Path,
    first: dict[str, Any],
    second: dict[str, Any],
    expected: str,
) -> None:
    path = tmp_path / "leaderboard.json"
    content["rows"][0].update(first)
    content["rows"][1].update(second)
    content["hash"] = content_hash(content)
    path.write_text(json.dumps(content), "utf-8")
    assert expected in complaint(path)


def test_every_field_is_needed(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    tried = 0
    for part in (None, "runs", "tasks", "models", "metrics", "rows"):
        for field in content if part is None else [*content[part][0]]:
            broken = copy.deepcopy(content)
            del (broken if part is None else broken[part][0])[field]
            path.write_text(json.dumps(broken), "utf-8")
            assert f"the field '{field}' is missing" in complaint(path)
            tried += 1
    assert tried == 9 + 10 + 9 + 9 + 11 + 23


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", ", line 1 column 1: this is not JSON (Expecting value)."),
        (b'{\n  "rows": [1,\n}', ", line 3 column 1: this is not JSON (Expecting value)."),
        (b'{"rows": [', ", line 1 column 11: this is not JSON (Expecting value)."),
        (b"[]", " at $: expected object, got []."),
        (b"null", " at $: expected object, got null."),
        (b"{}", " at $: the field 'schema_version' is missing."),
        (b'{"a": 1, "b": 2, "a": 3}', ': the field "a" stands twice in one object.'),
        (b'{"caf\xe9": 1}', ", byte 5: expected UTF-8, got 0xe9."),
        (b"[" * 5_000_000, ": its brackets are nested too deep to be read."),
        (b'{"a":' * 1_000_000, ": its brackets are nested too deep to be read."),
    ],
    ids=lambda value: None if len(value) > 100 else str(value),
)
def test_what_is_not_a_board(tmp_path: Path, text: bytes, expected: str) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_bytes(text)
    assert complaint(path).startswith(expected)


def test_a_forged_value_is_found_by_the_hash(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    text = path.read_text("utf-8")
    path.write_text(text.replace('"value": 4.5,', '"value": 4.6,'), "utf-8")
    line = complaint(path)
    assert line.startswith(" at $.hash: expected sha256:")
    assert line.endswith(f"got {board.hash}: it was changed after it was written.")
    # Another order of the fields, other spaces, 60.50 for 60.5: the same content.
    content = json.loads(text)
    same = json.dumps(dict(reversed(content.items())), indent=1).replace("60.5", "60.50")
    path.write_text(same, "utf-8")
    assert read_leaderboard(path) == board


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


def test_a_board_of_the_future_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps({**content, "schema_version": CURRENT + 1}), "utf-8")
    with pytest.raises(
        DataError, match=rf"has schema version 4, .* reads up to {CURRENT}\. Get a newer one"
    ):
        read_leaderboard(path)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [None, "nan", "type", "n", "twice", "range"])
def test_many_rows_are_handled(
    board: Board, content: dict[str, Any], tmp_path: Path, harm: str | None
) -> None:
    model, metric = board.models[0], board.metrics[0]
    models = [replace(model, identity={"number": i}) for i in range(600)]
    models = [replace(model, id=model_id(model)) for model in models]
    metrics = [replace(metric, id=f"k{i:02}", name=f"k{i:02}") for i in range(50)]
    (run,) = board.runs
    row = next(row for row in board.rows if row.low is not None)
    row = replace(row, low=4.0, high=5.0, value=4.5)
    rows = [
        replace(row, model=model.id, metric=metric.id, value=4.5 + i / 1e6)
        for i, model in enumerate(models)
        for metric in metrics
    ]
    whole = replace(
        board,
        models=tuple(models),
        metrics=tuple(metrics),
        runs=(replace(run, cells=()),),
        rows=tuple(rows),
    )
    path = tmp_path / "leaderboard.json"
    if harm is None:
        write_leaderboard(path, whole)
        assert read_leaderboard(path) == whole
        return
    harms: dict[str, tuple[dict[str, Any], str]] = {
        "nan": ({"value": math.nan}, "value: expected number or null, got NaN"),
        "type": ({"signature": 7}, "signature: expected string, got 7"),
        "n": ({"n": -1}, "n: expected at least 0, got -1"),
        "twice": ({"metric": "k48"}, ": the same run, model, task and metric as $.rows[29998]"),
        "range": ({"low": 4.6}, ": expected low <= value <= high"),
    }
    change, expected = harms[harm]
    made = {**whole.to_json(), "hash": FORGED}
    made["rows"][-1].update(change)
    path.write_text(json.dumps(made), "utf-8")
    line = complaint(path)
    assert "$.rows[29999]" in line
    assert expected in line


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000], ids=len)
def test_a_number_too_large_for_a_float_is_refused(
    content: dict[str, Any], tmp_path: Path, number: str
) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps(content).replace("4.75", number), "utf-8")
    assert "$.rows[0].high: expected number or null, got Infinity" in complaint(path)


def test_an_identity_too_deep_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    deep = json.dumps(content).replace('"c0"', "[" * 800 + "]" * 800)
    path.write_text(deep, "utf-8")
    assert "nested too deep" in complaint(path)


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_mutated_board_is_refused_or_valid(
    content: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    mutated = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 3))):
        _mutate(mutated, data)
    if data.draw(st.integers(0, 3)):
        with contextlib.suppress(ValueError, RecursionError):
            mutated["hash"] = content_hash(mutated)
    text = json.dumps(mutated)
    if data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 20)))
        text = text[:start] + data.draw(st.text('{}[],:"0e-NaN\\u', max_size=5)) + text[end:]
    path = tmp_path / "leaderboard.json"
    path.write_text(text, "utf-8")
    try:
        read = read_leaderboard(path)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - what pytest.raises cannot say: or none
        return
    write_leaderboard(path, read)
    assert read_leaderboard(path) == read


def _mutate(node: Any, data: st.DataObject) -> None:
    """Replace, remove or add one thing somewhere below `node`."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = data.draw(st.sampled_from(keys))
    if isinstance(node[key], dict | list) and data.draw(st.integers(0, 3)):
        _mutate(node[key], data)
        return
    action = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "replace":
        node[key] = data.draw(JSON)
    elif action == "remove":
        del node[key]
    elif isinstance(node, dict):
        node[data.draw(st.text(max_size=5))] = data.draw(JSON)
    else:
        node.append(copy.deepcopy(node[key]))
