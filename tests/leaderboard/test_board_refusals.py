"""Boards that are none."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.boards import with_row

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard import (
    Board,
    read_leaderboard,
    write_leaderboard,
)
from tofu_eval.leaderboard.merge_ids import model_id
from tofu_eval.leaderboard.schema import CURRENT, content_hash

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


def test_a_board_of_the_future_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps({**content, "schema_version": CURRENT + 1}), "utf-8")
    with pytest.raises(
        DataError, match=rf"has schema version 4, .* reads up to {CURRENT}\. Get a newer one"
    ):
        read_leaderboard(path)


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
