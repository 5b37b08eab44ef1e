"""Responses from files: every accepted form, and one line for whatever is not."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_eval.core.errors import DataError
from tofu_eval.importers.base import Options
from tofu_eval.importers.read import read_responses
from tofu_eval.importers.reading import Responses

SPOOL = Path()


def read(path: Path, data: bytes | str, name: str | None = None) -> Responses:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_responses([(name, path)], "t", spool=SPOOL)


def texts(found: Responses, model: str) -> list[tuple[int, str]]:
    return [(row.sample, row.text) for row in found.rows[model]]


@pytest.mark.parametrize("field", ["responses", "generations"])
def test_one_row_a_prompt(tmp_path: Path, field: str) -> None:
    found = read(tmp_path / "gpt.jsonl", json.dumps({"prompt": "P", field: ["a", "b"]}))
    assert texts(found, "gpt") == [(0, "a"), (1, "b")]
    (prompt,) = found.prompts.values()
    assert prompt.text == "P"


def test_what_a_flag_mends_is_no_fault_of_the_row(tmp_path: Path) -> None:
    for row, mends in (
        ({"ask": "P", "response": "a"}, False),
        ({"prompt": "P", "response": 1}, True),
    ):
        with pytest.raises(DataError) as error:
            read(tmp_path / "f.jsonl", json.dumps(row))
        assert ("Mend that line" in str(error.value)) is mends


def test_a_row_says_to_which_cluster_its_prompt_belongs(tmp_path: Path) -> None:
    rows = [
        {"prompt": "P", "response": "a", "category": " c  1", "topic": "x", "grp": 7},
        {"prompt": "P", "response": "b", "category": "c 1", "topic": "y", "grp": 7},
        {"prompt": "Q", "response": "b", "category": None},
    ]
    data = "\n".join(map(json.dumps, rows))
    known = [prompt.metadata for prompt in read(tmp_path / "f.jsonl", data).prompts.values()]
    assert known == [{"category": "c 1"}, {}]  # a field with two values is no prompt's
    named = Options(cluster="grp")
    found = read_responses([(None, tmp_path / "f.jsonl")], "t", spool=SPOOL, options=named)
    assert [prompt.metadata for prompt in found.prompts.values()] == [{"grp": "7"}, {}]
    with pytest.raises(DataError, match=r"no field 'nope' \(--cluster\), got fields prompt"):
        read_responses(
            [(None, tmp_path / "f.jsonl")], "t", spool=SPOOL, options=Options(cluster="nope")
        )


@pytest.mark.parametrize("field", ["response", "generation"])
def test_one_row_a_response(tmp_path: Path, field: str) -> None:
    lines = [{"id": 7, "prompt": "P", field: text, "model": "org/x 1"} for text in ("a", "", "a")]
    found = read(tmp_path / "f.jsonl", "\n".join(map(json.dumps, lines)))
    assert texts(found, "org-x-1") == [(0, "a"), (1, ""), (2, "a")]
    assert list(found.prompts) == ["7"]
    assert len({row.key for row in found.rows["org-x-1"]}) == 3


def test_references_and_what_the_engine_said(tmp_path: Path) -> None:
    one = [
        {"id": 1, "response": "a", "logprob": -1.5, "finish_reason": "stop", "references": None},
        {"id": 1, "response": "b", "logprob": 0, "finish_reason": None, "references": ["r", "s"]},
        {"id": 1, "response": "c", "references": ["r", "s"]},
    ]
    many = [
        {
            "id": 1,
            "references": ["r", "s"],
            "responses": ["a", "b", "c"],
            "logprob": [-1.5, 0, None],
            "finish_reason": ["stop", None, None],
        }
    ]
    for name, rows in (("one", one), ("many", many)):
        lines = "\n".join(map(json.dumps, rows))
        from_jsonl = read(tmp_path / f"{name}.jsonl", lines, "m")
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        from_parquet = read_responses([("m", tmp_path / f"{name}.parquet")], "t", spool=SPOOL)
        for found in (from_jsonl, from_parquet):
            assert found.prompts["1"].references == ("r", "s")
            assert [(row.logprob, row.finish_reason) for row in found.rows["m"]] == [
                (-1.5, "stop"), (0.0, None), (None, None),
            ]  # fmt: skip


def test_parquet_is_read_as_jsonl_is(tmp_path: Path) -> None:
    rows = [{"prompt": "P", "responses": ["a", "b"]}, {"prompt": "Q", "responses": ["c"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    from_parquet = read_responses([("m", tmp_path / "x.parquet")], "t", spool=SPOOL)
    from_jsonl = read(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)), "m")
    assert texts(from_parquet, "m") == texts(from_jsonl, "m")
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
        [(None, tmp_path / "base.jsonl"), ("tuned", tmp_path / "sft.jsonl")], "t", spool=SPOOL
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
        ("[1]", r"row 1: expected a JSON object, got a number"),
        ('{"responses": ["a"]}', r"line 1: expected 'prompt' or 'id', got fields responses"),
        ('{"prompt": "P"}', r"expected one of responses, generations, response, .* got fields p"),
        ('{"prompt": "P", "responses": ["a"], "response": "a"}', r"expected one of"),
        ('{"prompt": "P", "responses": "a"}', r"'responses' must be a list .*, got a string"),
        ('{"prompt": "P", "responses": ["a", 3]}', r"response 2 of 'responses' must be a string, "),
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
            r"line 2: 'response' here, but the lines before have 'responses'",
        ),
        (b'{"id": 1, "response": "a"}\n{"id": 1, "response": "\xff"}', r"line 2: not UTF-8 \(byte"),
        ('{"id": 1.5, "response": "a"}', r"'id' must be a string or a whole number .*, got 1\.5\."),
        ('{"id": NaN, "response": "a"}', r"'id' must be a string or a whole number .*, got nan\."),
        (
            '{"id": 9007199254740992.0, "response": "a"}',
            r"below 2\*\*53\), got 9007199254740992\.0",
        ),
        ('{"i\\n\\ud83dd": 1}', r"expected 'prompt' or 'id', got fields i\ufffd\ufffdd"),
        ("[" * 100_000, r"row 1: not JSON that can be read: it is nested too deeply"),
        ('{"id": 1, "response": "a"}\n{"a":' + "[" * 100_000, r"line 2: .* nested too deeply"),
        ('{"id": 1, "id": 2, "response": "a"}', r"line 1: the key 'id' stands twice in one obj"),
        (
            '{"id": 1, "response": "a"}\n{"id": 2, "response": "a", "x": {"y": 1, "y": 2}}',
            r"line 2: the key 'y' stands twice in one object",
        ),
        ('{"id": 1, "response": "a", "references": "r"}', r"'references' must be a list of str"),
        (
            '{"id": 1, "response": "a"}\n{"id": 1, "response": "a", "references": ["r", 2]}',
            r"line 2: reference 2 of 'references' must be a string, got a number",
        ),
        (
            '{"id": 1, "response": "a", "references": ["r"]}\n'
            '{"id": 1, "response": "a", "references": ["s"]}',
            r"line 2: prompt '1' had other references before",
        ),
        ('{"id": 1, "response": "a", "logprob": "-1"}', r"'logprob' must be a number, got a str"),
        ('{"id": 1, "response": "a", "logprob": true}', r"'logprob' must be a number, got a bool"),
        ('{"id": 1, "response": "a", "logprob": 0.5}', r"must be at most 0, .*, got 0\.5\."),
        ('{"id": 1, "response": "a", "logprob": NaN}', r"must be at most 0, .*, got nan\."),
        ('{"id": 1, "response": "a", "logprob": -1e999}', r"must be at most 0, .*, got -inf\."),
        ('{"id": 1, "response": "a", "finish_reason": 1}', r"'finish_reason' must be a string, g"),
        (
            '{"id": 1, "responses": ["a", "b"], "logprob": -1.0}',
            r"'logprob' must be a list of one value a response \(2\), got a number",
        ),
        (
            '{"id": 1, "responses": ["a", "b"], "finish_reason": ["stop"]}',
            r"'finish_reason' must be a list of one value a response \(2\), got 1 values",
        ),
    ],
)
def test_bad_files(tmp_path: Path, data: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "x.jsonl", data)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def of_models(*names: str) -> str:
    rows = [{"id": 1, "model": name, "response": "a"} for name in names]
    return "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize("names", [("org/a", "org-a"), ("org/a", "org a"), ("型a", "模型a")])
def test_models_whose_names_become_one_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    first, second = names
    message = (
        f"line 3: the models '{first}' and '{second}' would both be called '.*'; put each into a "
        "file of its own and name them apart: tofu-eval score NAME=FILE"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.jsonl", of_models(first, first, second))
    files = [(None, tmp_path / "a.jsonl"), (None, tmp_path / "b.jsonl")]
    for name, (_, path) in zip(names, files, strict=True):
        path.write_text(of_models(name))
    with pytest.raises(DataError, match=f"line 1: the models '{first}' and '{second}' would both"):
        read_responses(files, "t", spool=SPOOL)
    apart = [("one", files[0][1]), ("two", files[1][1])]
    assert list(read_responses(apart, "t", spool=SPOOL).rows) == ["one", "two"]


@pytest.mark.parametrize("name", ["", "模型一", "--", "\ud83d"])
def test_a_model_without_a_usable_name_is_refused(tmp_path: Path, name: str) -> None:
    message = "line 2: a model's name needs a letter .*; name it: tofu-eval score NAME=FILE"
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "x.jsonl", of_models("m", name))
    str(caught.value).encode()
    with pytest.raises(DataError, match=r"line 1: a model's name needs a letter"):
        read(tmp_path / "x.jsonl", of_models("m"), name)
    with pytest.raises(DataError, match="got '模型'; name it: tofu-eval score NAME=FILE"):
        read(tmp_path / "模型.jsonl", '{"id": 1, "response": "a"}')


def test_a_name_has_at_most_100_characters(tmp_path: Path) -> None:
    assert list(read(tmp_path / "x.jsonl", of_models("m" * 100)).rows) == ["m" * 100]
    with pytest.raises(DataError, match=r"line 1: a model's name may have at most 100 .*got 101 "):
        read(tmp_path / "x.jsonl", of_models("m" * 101))


@pytest.mark.parametrize("number", ["7", "7.0", "7e0", '"7"'])
def test_a_whole_number_is_an_id_however_written(tmp_path: Path, number: str) -> None:
    found = read(tmp_path / "x.jsonl", f'{{"id": {number}, "response": "a"}}')
    assert list(found.prompts) == ["7"]


def parquet(path: Path, **columns: object) -> Responses:
    pq.write_table(pa.table(columns), path)
    return read_responses([(None, path)], "t", spool=SPOOL)


def test_parquet_ids_that_pandas_made_floats(tmp_path: Path) -> None:
    found = parquet(
        tmp_path / "x.parquet", id=[1.0, None], prompt=["P", "Q"], responses=[["a"], ["b"]]
    )
    assert [prompt.text for prompt in found.prompts.values()] == ["P", "Q"]
    assert "1" in found.prompts
    with pytest.raises(DataError, match=r"x\.parquet, row 2: 'id' must be .*, got 1\.5\."):
        parquet(tmp_path / "x.parquet", id=[1.0, 1.5], response=["a", "b"])


def test_parquet_columns_that_do_not_count_are_not_read(tmp_path: Path) -> None:
    # No datetime of Python's holds it.
    never = pa.array([2**62], pa.timestamp("us"))
    found = parquet(tmp_path / "x.parquet", prompt=["P"], responses=[["a"]], never=never)
    assert texts(found, "x") == [(0, "a")]
    with pytest.raises(DataError, match=r"row 1: expected 'prompt' or 'id', got fields never, o"):
        parquet(tmp_path / "x.parquet", never=never, other=["P"])
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet: date value out of"):
        parquet(tmp_path / "x.parquet", id=never, response=["a"])


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as Parquet: .*UTF8 sequence"):
        parquet(tmp_path / "x.parquet", id=[1], response=bad)


@pytest.mark.parametrize(
    "prompt", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_strings_of_other_kinds(tmp_path: Path, prompt: pa.DataType) -> None:
    inner = pa.string() if pa.types.is_dictionary(prompt) else prompt
    for lists in (pa.list_(inner), pa.large_list(inner)):
        found = parquet(
            tmp_path / "x.parquet",
            model=pa.array(["m", "m"], pa.string()).cast(prompt),
            prompt=pa.array(["P", "Q"], pa.string()).cast(prompt),
            responses=pa.array([["a", "b"], ["c"]], lists),
        )
        assert texts(found, "m") == [(0, "a"), (1, "b"), (0, "c")]


def test_an_empty_parquet_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.parquet is empty: expected rows with the columns"):
        parquet(tmp_path / "x.parquet", prompt=pa.array([], pa.string()))
    with pytest.raises(DataError, match=r"cannot be read as Parquet: .* is 0 bytes\. Write it"):
        read(tmp_path / "x.parquet", b"")


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/fd")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    data = b'{"prompt": "P", "responses": ["a", "b"]}\n'
    out, into = os.pipe()
    try:
        os.write(into, data)
        os.close(into)
        found = read_responses([("m", Path(f"/dev/fd/{out}"))], "t", spool=SPOOL)
    finally:
        os.close(out)
    assert texts(found, "m") == [(0, "a"), (1, "b")]
    assert found.sources["m"]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    line = r'{"prompt": "P", "response": "half \ud83d"}'
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    found = read(path, line)
    assert texts(found, "caf") == [(0, "half \ufffd")]
    assert found.sources["caf"]["file"] == "caf\ufffd.jsonl"
    "".join(found.notes).encode()
    for bad in (b"", b"[", b"\xff", b"{}"):
        with pytest.raises(DataError, match="caf\ufffd\\.jsonl") as caught:
            read(path, bad)
        str(caught.value).encode()
    table = path.with_suffix(".parquet")
    with table.open("wb") as file:
        pq.write_table(pa.table({"prompt": ["P"], "response": ["a"]}), file)
    assert texts(read_responses([(None, table)], "t", spool=SPOOL), "caf") == [(0, "a")]
    with pytest.raises(DataError, match=r"caf\ufffd\.parquet cannot be read as Par") as caught:
        read(table, b"no")
    str(caught.value).encode()


def test_a_model_in_two_files_is_refused(tmp_path: Path) -> None:
    line = '{"prompt": "P", "responses": ["a"], "model": "m"}'
    (tmp_path / "a.jsonl").write_text(line)
    (tmp_path / "b.jsonl").write_text(line)
    with pytest.raises(DataError, match="model 'm' has responses in an earlier file too"):
        read_responses(
            [(None, tmp_path / "a.jsonl"), (None, tmp_path / "b.jsonl")], "t", spool=SPOOL
        )


def test_a_file_that_is_not_there_or_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*none\.jsonl: No such file"):
        read_responses([(None, tmp_path / "none.jsonl")], "t", spool=SPOOL)
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
