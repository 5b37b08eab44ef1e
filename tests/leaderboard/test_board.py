from __future__ import annotations

import copy
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tofu_eval.errors import DataError, StoreError
from tofu_eval.leaderboard import build_leaderboard, read_leaderboard, write_leaderboard

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


def test_the_schema_is_a_schema() -> None:
    text = resources.files("tofu_eval.leaderboard").joinpath("schema.json").read_text("utf-8")
    Draft202012Validator.check_schema(json.loads(text))


def test_what_is_written_is_read(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "leaderboard.json"
    write_leaderboard(path, board)
    assert read_leaderboard(path) == board
    assert [file.name for file in path.parent.iterdir()] == ["leaderboard.json"]


def test_what_a_board_holds(board: dict[str, Any]) -> None:
    assert list(board) == [
        "schema_version", "tool", "created", "tasks", "models", "metrics", "rows"
    ]  # fmt: skip
    assert board["tasks"][0]["name"] == "open-prompts"
    assert "source" not in board["tasks"][0]
    assert board["models"][1] == {
        "name": "theirs", "identity": {"rows": 600}, "prompt_format": {}, "engine": "file"
    }  # fmt: skip
    assert board["metrics"][1] == {
        "name": "self_bleu",
        "version": 1,
        "direction": "lower",
        "measures": "diversity",
        "range": ["0", "100"],
        "paper": "arXiv:2210.02410",
    }
    assert board["rows"][0] == {
        "model": "base",
        "task": "open-prompts",
        "metric": "vendi",
        "value": 4.5,
        "low": 4.25,
        "high": 4.75,
        "n": 59,
        "undefined": 1,
        "method": "bootstrap",
        "signature": "vendi|v:1",
    }


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["schema_version"], 2, "$.schema_version: expected 1, got 2"),
        (["schema_version"], True, "$.schema_version: expected integer, got true"),
        (["created"], "yesterday", "$.created: expected a text like "),
        (["created"], "2026-13-01T12:00:00Z", "$.created: expected a time, got"),
        (["created"], "2026-01-01T12:00:00+02:00", "$.created: expected a text like "),
        (["tool"], [], "$.tool: expected object, got []"),
        (["tool", "version"], "", "$.tool.version: expected a text that is not empty"),
        (["tool", "extra"], 1, "$.tool: the field \"extra\" is not known"),
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
        (["rows", 1, "model"], "base", "$.rows[1]: the same model, task and metric as $.rows[0]"),
        (["models", 1, "name"], "base", "$.models[1]: the model \"base\" stands twice"),
        (["metrics", 1, "name"], "vendi", "$.metrics[1]: the metric \"vendi\" stands twice"),
        (["rows"], {"a" * 500: 1}, "$.rows: expected array, got {\"aaa"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_on_read_and_on_write(
    board: dict[str, Any], tmp_path: Path, place: list[Any], value: Any, expected: str
) -> None:
    path = tmp_path / "leaderboard.json"
    target = board
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    path.write_text(json.dumps(board), "utf-8")
    assert expected in complaint(path)
    path.unlink()
    with pytest.raises(DataError, match=re.escape(expected) + ".*Nothing is written"):
        write_leaderboard(path, board)
    assert not path.exists()


def test_every_field_is_needed(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    tried = 0
    for part in (None, "tool", "tasks", "models", "metrics", "rows"):
        for field in board if part is None else [*_first(board, part)]:
            broken = copy.deepcopy(board)
            del (broken if part is None else _first(broken, part))[field]
            path.write_text(json.dumps(broken), "utf-8")
            assert f"the field '{field}' is missing" in complaint(path)
            tried += 1
    assert tried == 7 + 3 + 7 + 4 + 6 + 10


def _first(board: dict[str, Any], part: str) -> dict[str, Any]:
    return board[part] if isinstance(board[part], dict) else board[part][0]


@pytest.mark.parametrize(
    ("content", "expected"),
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
def test_what_is_not_a_board(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_bytes(content)
    assert complaint(path).startswith(expected)


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000], ids=len)
def test_a_number_too_large_for_a_float_is_refused(
    board: dict[str, Any], tmp_path: Path, number: str
) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps(board).replace("4.75", number), "utf-8")
    assert "$.rows[0].high: expected number or null, got Infinity" in complaint(path)


def test_an_identity_too_deep_is_refused(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    deep = json.dumps(board).replace('"c0"', "[" * 800 + "]" * 800)
    path.write_text(deep, "utf-8")
    assert "nested too deep" in complaint(path)


def test_a_byte_order_mark_and_windows_line_ends_are_read(
    board: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "leaderboard.json"
    text = json.dumps(board, indent=2).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_leaderboard(path) == board


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the leaderboard .*no.json: No such file"):
        read_leaderboard(tmp_path / "no.json")
    with pytest.raises(DataError, match=r"Cannot read the leaderboard .*: Is a directory"):
        read_leaderboard(tmp_path)


def test_what_json_cannot_say_is_not_written(board: dict[str, Any], tmp_path: Path) -> None:
    board["models"][0]["identity"] = {"path": tmp_path}
    path = tmp_path / "leaderboard.json"
    with pytest.raises(DataError, match=r"leaderboard.json cannot be made: .* not JSON serial"):
        write_leaderboard(path, board)
    assert not path.exists()


def test_a_manifest_with_a_part_missing_is_named(
    estimates: Any, manifest: dict[str, Any], tmp_path: Path
) -> None:
    del manifest["tasks"]["open-prompts"]["digest"]
    board = build_leaderboard(estimates, manifest)
    with pytest.raises(DataError, match=r"at \$\.tasks\[0\]: the field 'digest' is missing"):
        write_leaderboard(tmp_path / "leaderboard.json", board)


def test_a_failed_write_keeps_the_old_file(
    board: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_leaderboard(path, {**board, "created": "2027-01-01T00:00:00Z"})
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
    board: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    mutated = copy.deepcopy(board)
    for _ in range(data.draw(st.integers(1, 3))):
        _mutate(mutated, data)
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
