"""Responses from files: every accepted form, and one line for whatever is not."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_eval.errors import DataError
from tofu_eval.ingest import Responses, read_responses


def read(path: Path, data: bytes | str, name: str | None = None) -> Responses:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_responses([(name, path)], "t")


def texts(found: Responses, model: str) -> list[tuple[int, str]]:
    return [(row.sample, row.text) for row in found.rows[model]]


@pytest.mark.parametrize("field", ["responses", "generations"])
def test_one_row_a_prompt(tmp_path: Path, field: str) -> None:
    found = read(tmp_path / "gpt.jsonl", json.dumps({"prompt": "P", field: ["a", "b"]}))
    assert texts(found, "gpt") == [(0, "a"), (1, "b")]
    (prompt,) = found.prompts.values()
    assert prompt.text == "P"


@pytest.mark.parametrize("field", ["response", "generation"])
def test_one_row_a_response(tmp_path: Path, field: str) -> None:
    lines = [{"id": 7, "prompt": "P", field: text, "model": "org/x 1"} for text in ("a", "", "a")]
    found = read(tmp_path / "f.jsonl", "\n".join(map(json.dumps, lines)))
    assert texts(found, "org-x-1") == [(0, "a"), (1, ""), (2, "a")]
    assert list(found.prompts) == ["7"]
    assert len({row.key for row in found.rows["org-x-1"]}) == 3


def test_parquet_is_read_as_jsonl_is(tmp_path: Path) -> None:
    rows = [{"prompt": "P", "responses": ["a", "b"]}, {"prompt": "Q", "responses": ["c"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    from_parquet = read_responses([("m", tmp_path / "x.parquet")], "t")
    from_jsonl = read(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)), "m")
    assert from_parquet.rows == from_jsonl.rows
    assert from_parquet.prompts == from_jsonl.prompts


def test_windows_ends_byte_order_mark_emoji_and_blank_lines(tmp_path: Path) -> None:
    line = '{"prompt": "Ünï 🍎", "responses": ["a\u2028b 👩‍🚀", "c\\r\\nd"]}'
    data = b"\xef\xbb\xbf" + f"\r\n{line}\r\n\r\n".encode()
    found = read(tmp_path / "x.jsonl", data)
    assert texts(found, "x") == [(0, "a\u2028b 👩‍🚀"), (1, "c\r\nd")]


def test_unpaired_surrogates_are_replaced_and_said(tmp_path: Path) -> None:
    found = read(
        tmp_path / "x.jsonl", r'{"prompt": "P", "responses": ["half \ud83d", "\ud83d\ude00"]}'
    )
    assert texts(found, "x") == [(0, "half \ufffd"), (1, "😀")]
    assert len(found.notes) == 1
    assert "1 texts had unpaired surrogates" in found.notes[0]


def test_two_files_are_two_models_on_the_same_prompts(tmp_path: Path) -> None:
    for name in ("base", "sft"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "P", "responses": ["a"]}')
    found = read_responses(
        [(None, tmp_path / "base.jsonl"), ("tuned", tmp_path / "sft.jsonl")], "t"
    )
    assert list(found.rows) == ["base", "tuned"]
    assert len(found.prompts) == 1
    assert found.sources["tuned"]["file"] == "sft.jsonl"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"x\.jsonl is empty: expected one JSON object a line"),
        ("\n\n", r"x\.jsonl is empty"),
        ('{"prompt": "P", "responses": ["a"]}\n{"prompt": ', r"line 2: not JSON"),
        ("[1]", r"line 1: expected a JSON object, got a list"),
        ('{"responses": ["a"]}', r"line 1: expected 'prompt' or 'id', got fields responses"),
        ('{"prompt": "P"}', r"expected one of responses, generations, response, .* got fields p"),
        ('{"prompt": "P", "responses": ["a"], "response": "a"}', r"expected one of"),
        ('{"prompt": "P", "responses": "a"}', r"'responses' must be a list .*, got a string"),
        ('{"prompt": "P", "responses": []}', r"'responses' must be a list .*, got an empty list"),
        ('{"prompt": "P", "responses": ["a", 3]}', r"response 2 of 'responses' must be a string, "),
        ('{"prompt": "P", "responses": ["a", null]}', r"response 2 .* must be a string, got null"),
        ('{"prompt": "P", "response": {"t": 1}}', r"'response' must be a string, got an object"),
        ('{"prompt": 3, "response": "a"}', r"'prompt' must be a string, got a number"),
        ('{"id": true, "response": "a"}', r"'id' must be a string or a whole number, got a bool"),
        ('{"id": 1, "model": 3, "response": "a"}', r"'model' must be a string, got a number"),
        (
            '{"id": 1, "responses": ["a"]}\n{"id": 1, "responses": ["b"]}',
            r"line 2: prompt '1' of model 'x' stands on line 1 already",
        ),
        (
            '{"id": 1, "prompt": "P", "response": "a"}\n{"id": 1, "prompt": "Q", "response": "b"}',
            r"line 2: prompt '1' had another text before",
        ),
        (
            '{"id": 1, "responses": ["a"]}\n{"id": 2, "response": "b"}',
            r"line 2: 'response' here, but the lines before have the other form",
        ),
        (b'{"id": 1, "response": "a"}\n{"id": 1, "response": "\xff"}', r"line 2: not UTF-8 \(byte"),
        ("[" * 100_000, r"line 1: not JSON"),
    ],
)
def test_bad_files(tmp_path: Path, data: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "x.jsonl", data)
    assert "\n" not in str(caught.value)


def test_a_model_in_two_files_is_refused(tmp_path: Path) -> None:
    line = '{"prompt": "P", "responses": ["a"], "model": "m"}'
    (tmp_path / "a.jsonl").write_text(line)
    (tmp_path / "b.jsonl").write_text(line)
    with pytest.raises(DataError, match="model 'm' has responses in an earlier file too"):
        read_responses([(None, tmp_path / "a.jsonl"), (None, tmp_path / "b.jsonl")], "t")


def test_a_file_that_is_not_there_or_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*none\.jsonl: No such file"):
        read_responses([(None, tmp_path / "none.jsonl")], "t")
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet"):
        read(tmp_path / "x.parquet", "no parquet")


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    message = ""
    try:
        read(tmp_path_factory.mktemp("fuzz") / "x.jsonl", data)
    except DataError as error:
        message = str(error)
    assert "\n" not in message
