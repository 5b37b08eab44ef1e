"""Files of responses: each format, each container, any fault."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.reading import check_reader, fuzz
from fuzz.seeds import FORMATS, PROMPTS, ROWS, arrow_of, eval_of, parquet_of
from fuzz.values import VALUES, as_json, damaged, faulty
from tofu_eval.core.tables import RESPONSE_SCHEMA, to_table
from tofu_eval.importers.base import Options
from tofu_eval.importers.read import read_responses
from tofu_eval.run.store import Run

HERE = Path()


def read(name: str, data: bytes, reader: str, **options: Any) -> Any:
    Path(name).write_bytes(data)

    def take() -> Any:
        found = read_responses([(None, Path(name))], "t", spool=HERE, options=Options(**options))
        tables = [pa.concat_tables(rows.tables()) for rows in found.rows.values()]
        # What was read can be kept.
        for table in tables:
            assert table.schema == RESPONSE_SCHEMA
            table.validate(full=True)
        Run(HERE, {}).write_prompts("t", list(found.prompts.values()))
        return found

    return check_reader(reader, take)


@pytest.mark.parametrize("format", FORMATS)
def test_good_rows_are_read(format: str) -> None:
    for number, row in enumerate(FORMATS[format]):
        named = {} if format == "rows" else {"format": format}
        assert read(f"{number}.jsonl", as_json(row), "good rows", **named) is not None


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
@fuzz(5)
def test_rows_with_faults(format: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(FORMATS[format]))
    lines = [as_json(data.draw(faulty([good])))]
    if isinstance(good, dict) and data.draw(st.booleans()):
        lines.insert(data.draw(st.integers(0, 1)), as_json(good))
    read("x.jsonl", b"\n".join(lines), f"rows of {format}")


@given(value=VALUES | st.lists(VALUES, max_size=3))
@fuzz(10)
def test_any_json(value: Any) -> None:
    read("x.json", as_json(value), "any JSON")


NAMES = ("prompt", "input", "response", "responses", "id", "model", "logprob", "text", "references")


@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1), min_size=1))
@fuzz(10)
def test_any_values_under_known_names(rows: list[Any]) -> None:
    read("x.jsonl", b"\n".join(map(as_json, rows)), "known names, any values")


@given(
    row=faulty(ROWS),
    options=st.fixed_dictionaries(
        {},
        optional={
            "prompt": st.sampled_from(["prompt", "id", "question", "x", ""]),
            "responses": st.lists(
                st.sampled_from(["response", "responses", "id", "x"]), max_size=3
            ).map(tuple),
            "id": st.sampled_from(["id", "prompt", "model", "x"]),
            "model": st.sampled_from(["model", "responses", "reward", "x"]),
            "cluster": st.sampled_from(["category", "responses", "id", "x"]),
        },
    ),
)
@fuzz(10)
def test_rows_whose_fields_are_named(row: Any, options: dict[str, Any]) -> None:
    read("x.jsonl", as_json(row), "rows, fields named", **options)


def _seeds() -> list[tuple[str, bytes]]:
    lines = b"\n".join(map(as_json, ROWS[:1] * 3))
    table = io.StringIO()
    csv.writer(table).writerows([["id", "prompt", "response", "reward"], ["a", "b", "c,\n", "1"]])
    plain = [{"prompt": "a", "response": "b", "model": "m"}] * 3
    parquet = parquet_of(FORMATS["lighteval"]) or b""
    return [
        ("x.jsonl", lines),
        ("x.json", json.dumps(ROWS[:1], indent=1).encode()),
        ("x.csv", table.getvalue().encode()),
        ("x.parquet", parquet_of(plain) or b""),
        ("x.parquet", parquet),
        ("x.arrow", arrow_of(plain)),
        ("x.eval", eval_of(FORMATS["inspect"][0])),
        ("x.jsonl.gz", gzip.compress(lines, mtime=0)),
        ("x.jsonl.xz", lzma.compress(lines)),
        ("x.jsonl.bz2", bz2.compress(lines)),
        ("x.jsonl.zst", pa.compress(lines, "zstd", asbytes=True)),
        ("x.parquet.gz", gzip.compress(parquet, mtime=0)),
    ]


SEEDS = _seeds()


@pytest.mark.parametrize("number", range(len(SEEDS)), ids=lambda n: f"{n}-{SEEDS[n][0]}")
@given(data=st.data())
@fuzz(5)
def test_damaged_files(number: int, data: st.DataObject) -> None:
    name, good = SEEDS[number]
    read(name, data.draw(damaged([good])), f"damaged {name[2:]}")


@given(data=damaged([content for _, content in SEEDS]), name=st.sampled_from([n for n, _ in SEEDS]))
@fuzz(13)
def test_any_bytes_under_any_name(data: bytes, name: str) -> None:
    read(name, data, "any bytes, any name")


@pytest.mark.parametrize("format", ["rows", "lighteval", "trl", "ray-llm"])
@given(data=st.data())
@fuzz(5)
def test_tables_with_faults(format: str, data: st.DataObject) -> None:
    rows = data.draw(st.lists(faulty(FORMATS[format]), min_size=1, max_size=2))
    content = parquet_of(rows if all(isinstance(row, dict) for row in rows) else [{"x": rows}])
    if content is not None:
        read("x.parquet", content, f"tables of {format}")


@given(log=faulty(FORMATS["inspect"], most=2))
@fuzz(6)
def test_logs_with_faults(log: Any) -> None:
    if isinstance(log, dict):
        read("x.eval", eval_of(log), "Inspect's ZIP")


CELLS = st.text(alphabet=st.sampled_from('a,;\t"\n\r\0\ud7ff1-[]{}é '), max_size=6)


@given(
    header=st.lists(st.sampled_from(NAMES) | CELLS, min_size=1, max_size=4),
    rows=st.lists(st.lists(CELLS, max_size=4), max_size=4),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@fuzz(13)
def test_csv(header: list[str], rows: list[list[str]], quoting: Any) -> None:
    table = io.StringIO()
    csv.writer(table, quoting=quoting).writerows([header, *rows])
    read("x.csv", table.getvalue().encode(), "CSV")


@given(rows=st.lists(faulty(PROMPTS), min_size=1, max_size=3), id=st.sampled_from(["b", 1, None]))
@fuzz(13)
def test_files_of_prompts(rows: list[Any], id: Any) -> None:
    Path("prompts.jsonl").write_bytes(b"\n".join(map(as_json, rows)))
    row = {"response": "owl", **({} if id is None else {"id": id})}
    read("x.jsonl", as_json(row), "files of prompts", prompts=Path("prompts.jsonl"))


@given(files=st.lists(faulty(ROWS, most=1) | faulty(PROMPTS, most=1), min_size=1, max_size=3))
@fuzz(6)
def test_folders(files: list[Any]) -> None:
    folder = Path("folder")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for number, row in enumerate(files):
        (folder / f"part-{number}.jsonl").write_bytes(as_json(row))

    def take() -> Any:
        return read_responses([(None, folder)], "t", spool=HERE)

    check_reader("folders", take)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)


@given(texts=st.lists(TEXTS, min_size=1, max_size=4), packing=st.sampled_from(["", ".gz", ".xz"]))
@fuzz(10)
def test_what_is_written_is_read(texts: list[str], packing: str) -> None:
    """JSONL, JSON, CSV and Parquet of the same rows are the same responses."""
    rows = [{"prompt": "p", "response": text} for text in texts]
    table = io.StringIO()
    csv.writer(table).writerows([["prompt", "response"], *(["p", text] for text in texts)])
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[packing]
    written = {
        "a.jsonl": b"\n".join(map(as_json, rows)),
        "b.json": json.dumps(rows, ensure_ascii=False, indent=1).encode(),
        "c.parquet": parquet_of(rows),
        "d.csv": table.getvalue().encode(),
    }
    seen = []
    for name, content in written.items():
        found = read(name + packing, pack(content), "round trips")
        assert found is not None, name
        (kept,) = found.rows.values()
        seen.append([(row.text, row.reasoning, row.state) for row in kept])
    assert all(other == seen[0] for other in seen)
    assert to_table(list(kept), RESPONSE_SCHEMA).num_rows == len(texts)
