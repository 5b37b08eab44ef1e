from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tofu_eval.core.errors import DataError, StoreError
from tofu_eval.leaderboard import build_leaderboard, read_leaderboard, write_leaderboard
from tofu_eval.leaderboard.schema import content_hash

FORGED = "sha256:" + "0" * 64
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


@pytest.mark.parametrize("version", [1, 2])
def test_the_schema_is_a_schema(version: int) -> None:
    file = resources.files("tofu_eval.leaderboard").joinpath("schemas", f"{version}.json")
    Draft202012Validator.check_schema(json.loads(file.read_text("utf-8")))


def test_a_row_is_said_in_words_that_columns_can_be_held_against() -> None:
    # check._columns_hold tries each distinct value alone, and of floats the smallest and largest.
    file = resources.files("tofu_eval.leaderboard").joinpath("schemas", "2.json")
    row = json.loads(file.read_text("utf-8"))["properties"]["rows"]["items"]
    assert set(row) == {"type", "additionalProperties", "required", "properties"}
    assert sorted(row["required"]) == sorted(row["properties"])
    for field in row["properties"].values():
        assert set(field) <= {"description", "type", "minimum", "minLength"}


def test_what_is_written_is_read(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "leaderboard.json"
    written = write_leaderboard(path, board)
    assert read_leaderboard(path) == written
    assert {name: value for name, value in written.items() if name != "hash"} == board
    assert [file.name for file in path.parent.iterdir()] == ["leaderboard.json"]


def test_a_line_an_item(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    write_leaderboard(path, board)
    lines = path.read_text("utf-8").splitlines()
    assert sum('"signature": ' in line for line in lines) == len(board["rows"])


def test_the_hash_is_that_of_rfc_8785(tmp_path: Path) -> None:
    # By hand: keys sorted, no spaces, 1.0 as 1, text as UTF-8;
    # printf '{"a":"é","b":1}' | sha256sum
    assert content_hash({"hash": "x", "b": 1.0, "a": "é"}) == (
        "sha256:aa58fba8483623bed37c1b02edfccbdd9a53123837c20bfa4cb4049993a2872e"
    )


def test_what_a_board_holds(board: dict[str, Any]) -> None:
    assert list(board) == [
        "schema_version", "runs", "tasks", "models", "metrics", "rows", "scores"
    ]  # fmt: skip
    assert board["runs"] == [
        {
            "id": "00000000000000aa",
            "tool": {"name": "tofu-eval", "version": "0.1.0", "git_revision": None},
            "created": "2026-03-01T12:30:00+00:00",
            "finished": "2026-03-01T13:00:00+00:00",
            "seed": 0,
            "machines": [{"system": "Linux", "processor": "x86_64", "cores": 2}],
            "packages": {"python": "3.11.7", "tofu-eval": "0.1.0"},
            "seconds": {"generate base": 60.5, "score": 2.5},
            "places": [
                {"model": "base", "task": "open-prompts", "prompt_format": "base", "tokens": 1200},
                {"model": "theirs", "task": "open-prompts", "prompt_format": None, "tokens": None},
            ],
        }
    ]
    assert board["tasks"][0]["id"] == board["tasks"][0]["name"] == "open-prompts"
    assert "source" not in board["tasks"][0]
    assert board["models"][1] == {
        "id": "theirs", "name": "theirs", "identity": {"rows": 600}, "engine": "file"
    }  # fmt: skip
    assert board["metrics"][1] == {
        "id": "self_bleu",
        "name": "self_bleu",
        "version": 1,
        "direction": "lower",
        "measures": "diversity",
        "range": ["0", "100"],
        "paper": "arXiv:2210.02410",
        "package": None,
    }
    assert board["rows"][0] == {
        "run": "00000000000000aa",
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
        "rank": None,
        "better_than": None,
        "worse_than": None,
    }


def test_a_run_of_before_there_were_ids_gets_one(estimates: Any, manifest: dict[str, Any]) -> None:
    del manifest["id"]
    first = build_leaderboard(estimates, manifest)["runs"][0]["id"]
    assert build_leaderboard(estimates, manifest)["runs"][0]["id"] == first
    manifest["models"]["base"]["identity"] = {"files": {"w": "c1"}}
    assert build_leaderboard(estimates, manifest)["runs"][0]["id"] != first


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (["schema_version"], 0, "$.schema_version: expected 2, got 0"),
        (["schema_version"], True, "$.schema_version: expected integer, got true"),
        (["runs", 0, "id"], "x", "$.runs[0].id: expected a text like "),
        (["runs", 0, "created"], "yesterday", "$.runs[0].created: expected a text like "),
        (["runs", 0, "created"], "2026-13-01T12:00:00Z", "$.runs[0].created: expected a time, got"),
        (["runs", 0, "finished"], "2026-01-01T12:00:00+02:00", ".finished: expected a text like "),
        (["runs", 0, "tool"], [], "$.runs[0].tool: expected object, got []"),
        (["runs", 0, "tool", "version"], "", "tool.version: expected a text that is not empty"),
        (["runs", 0, "tool", "extra"], 1, "$.runs[0].tool: the field \"extra\" is not known"),
        (["runs", 0, "seconds", "score"], -1, "$.runs[0].seconds.score: expected at least 0"),
        (["runs", 0, "places", 0, "model"], "x", "$.runs[0].places[0].model: expected one of the"),
        (["runs", 0, "places", 1, "model"], "base", "$.runs[0].places[1]: the same model and task"),
        (["tasks", 0, "id"], "other#12345678", "$.tasks[0].id: expected \"open-prompts\", got"),
        (["tasks", 0, "id"], "open-prompts#1", "$.tasks[0].id: expected a text like "),
        (["tasks", 0, "package"], {"name": "x"}, "$.tasks[0].package: the field 'version' is"),
        (["scores"], {"file": "../x.parquet", "sha256": "ab" * 32, "rows": 1}, "$.scores.file: "),
        (["rows", 0, "rank"], 1, "expected rank, better_than and worse_than together"),
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
        (["rows", 1, "model"], "base", "$.rows[1]: the same run, model, task and metric as $."),
        (["models", 1, "id"], "base", "$.models[1]: the model \"base\" stands twice"),
        (["metrics", 1, "id"], "vendi", "$.metrics[1]: the metric \"vendi\" stands twice"),
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
    path.write_text(json.dumps({**board, "hash": FORGED}), "utf-8")
    assert expected in complaint(path)
    path.unlink()
    with pytest.raises(DataError, match=re.escape(expected) + ".*Nothing is written"):
        write_leaderboard(path, board)
    assert not path.exists()


def test_every_field_is_needed(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    board["hash"] = FORGED
    tried = 0
    for part in (None, "runs", "tasks", "models", "metrics", "rows"):
        for field in board if part is None else [*_first(board, part)]:
            broken = copy.deepcopy(board)
            del (broken if part is None else _first(broken, part))[field]
            path.write_text(json.dumps(broken), "utf-8")
            assert f"the field '{field}' is missing" in complaint(path)
            tried += 1
    assert tried == 8 + 9 + 9 + 4 + 8 + 14


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


def test_a_forged_value_is_found_by_the_hash(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    written = write_leaderboard(path, board)
    text = path.read_text("utf-8")
    path.write_text(text.replace('"value": 4.5,', '"value": 4.6,'), "utf-8")
    line = complaint(path)
    assert line.startswith(" at $.hash: expected sha256:")
    assert line.endswith(f"got {written['hash']}: it was changed after it was written.")
    # Another order of the fields, other spaces, 60.50 for 60.5: the same content.
    same = json.dumps(dict(reversed(written.items())), indent=1).replace("60.5", "60.50")
    path.write_text(same, "utf-8")
    assert read_leaderboard(path) == written


def test_a_board_of_the_future_is_named(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps({**board, "schema_version": 3}), "utf-8")
    with pytest.raises(
        DataError, match=r"has schema version 3, .* reads up to 2\. Get a newer one"
    ):
        read_leaderboard(path)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [None, "nan", "type", "n", "twice", "range"])
def test_100_000_rows_are_handled(board: dict[str, Any], tmp_path: Path, harm: str | None) -> None:
    row = board["rows"][0]
    models = [f"m{i}" for i in range(2000)]
    metrics = [f"k{i}" for i in range(50)]
    board["models"] = [{**board["models"][0], "id": name, "name": name} for name in models]
    board["metrics"] = [{**board["metrics"][0], "id": name, "name": name} for name in metrics]
    board["runs"][0]["places"] = []
    board["rows"] = [
        {**row, "model": model, "metric": metric, "value": 4.5 + i / 1e6}
        for i, model in enumerate(models)
        for metric in metrics
    ]
    last: dict[str, Any] = board["rows"][-1]
    harms: dict[str | None, tuple[dict[str, Any], str]] = {
        "nan": ({"value": math.nan}, "value: expected number or null, got NaN"),
        "type": ({"signature": 7}, "signature: expected string, got 7"),
        "n": ({"n": -1}, "n: expected at least 0, got -1"),
        "twice": ({"metric": "k48"}, ": the same run, model, task and metric as $.rows[99998]"),
        "range": ({"low": 4.6}, ": expected low <= value <= high"),
    }
    path = tmp_path / "leaderboard.json"
    if harm is None:
        assert write_leaderboard(path, board) == read_leaderboard(path)
        return
    change, expected = harms[harm]
    last.update(change)
    path.write_text(json.dumps({**board, "hash": FORGED}), "utf-8")
    line = complaint(path)
    assert "$.rows[99999]" in line
    assert expected in line


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000], ids=len)
def test_a_number_too_large_for_a_float_is_refused(
    board: dict[str, Any], tmp_path: Path, number: str
) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(json.dumps({**board, "hash": FORGED}).replace("4.75", number), "utf-8")
    assert "$.rows[0].high: expected number or null, got Infinity" in complaint(path)


def test_an_identity_too_deep_is_refused(board: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    deep = json.dumps({**board, "hash": FORGED}).replace('"c0"', "[" * 800 + "]" * 800)
    path.write_text(deep, "utf-8")
    assert "nested too deep" in complaint(path)


def test_a_byte_order_mark_and_windows_line_ends_are_read(
    board: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "leaderboard.json"
    written = write_leaderboard(path, board)
    text = json.dumps(written, indent=2).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_leaderboard(path) == written


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
        write_leaderboard(path, {**board, "rows": []})
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
    mutated = copy.deepcopy({**board, "hash": FORGED})
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
    assert write_leaderboard(path, read) == read == read_leaderboard(path)


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
