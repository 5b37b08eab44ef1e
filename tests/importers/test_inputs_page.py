"""Each line of the tables in docs/inputs.md, as it stands there."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from tofu_eval.importers.base import IMPORTERS, Options
from tofu_eval.importers.read import read_responses
from tofu_eval.importers.reading import Responses

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
FLAGS = {"--prompt-field": "prompt", "--id-field": "id", "--response-field": "responses"}


def lines_of(heading: str) -> list[tuple[str, list[str], str]]:
    """The first cell of each row of a table, its pieces of JSON, and its last cell."""
    text = PAGE.read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    found = []
    for line in rows:
        cells = re.split(r"(?<!\\) ?\| ?", line)[1:-1]
        pieces = re.findall(r"`([^`]+)`", cells[1].replace("\\|", "|"))
        found.append((cells[0].strip("` "), pieces, cells[-1].strip("` ") if cells[2:] else ""))
    return found


def packed(name: str, rows: list[str]) -> bytes:
    """The rows in the container that a file's name stands for."""
    if name.endswith(".gz"):
        return gzip.compress(packed(name.removesuffix(".gz"), rows))
    if name.endswith(".zst"):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(packed(name.removesuffix(".zst"), rows))
        return sink.getvalue().to_pybytes()
    objects: list[Any] = [json.loads(row) for row in rows]
    if name.endswith((".csv", ".tsv")):
        text = io.StringIO()
        dialect = "excel" if name.endswith(".csv") else "excel-tab"
        writer = csv.DictWriter(text, list(objects[0]), dialect=dialect)
        writer.writeheader()
        writer.writerows(objects)
        return text.getvalue().encode()
    if name.endswith((".parquet", ".arrow")):
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(objects)
        if name.endswith(".parquet"):
            pq.write_table(table, sink)
        else:
            pyarrow.feather.write_feather(table, sink)
        return sink.getvalue().to_pybytes()
    return "\n".join(rows).encode()


def check(found: Responses) -> None:
    (rows,) = found.rows.values()
    (prompt,) = found.prompts.values()
    assert " ".join(prompt.text.split()) == "Name a fruit."
    by_sample = sorted(rows, key=lambda row: row.sample)
    assert [(row.sample, row.text, row.state) for row in by_sample] == [
        (0, "apple", "finished"), (1, "pear", "finished"),
    ]  # fmt: skip


@pytest.mark.parametrize("line", lines_of("Rows of your own"), ids=lambda line: line[1][0][:60])
def test_rows_of_your_own(line: tuple[str, list[str], str], tmp_path: Path) -> None:
    name, rows, flags = line
    (tmp_path / name).write_bytes(packed(name, rows))
    (tmp_path / "prompts.jsonl").write_text('{"key": 7, "prompt": "Name a fruit."}')
    given: dict[str, Any] = {}
    words = shlex.split(flags)
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag == "--prompts":
            given["prompts"] = tmp_path / value
        else:
            given[FLAGS[flag]] = (value,) if flag == "--response-field" else value
    options = Options(**given)
    check(read_responses([(None, tmp_path / name)], "t", spool=tmp_path, options=options))


@pytest.mark.parametrize("line", lines_of("Formats of other tools"), ids=lambda line: line[0])
def test_formats_of_other_tools(line: tuple[str, list[str], str], tmp_path: Path) -> None:
    name, rows, _ = line
    batch_input = {
        "custom_id": "a",
        "body": {"messages": [{"role": "user", "content": "Name a fruit."}]},
    }
    (tmp_path / "batch_input.jsonl").write_text(json.dumps(batch_input))
    (tmp_path / "anything").write_text("\n".join(rows))
    found = read_responses([(None, tmp_path / "anything")], "t", spool=tmp_path)
    check(found)
    assert any(f"read as: {IMPORTERS.get(name).title}" in note for note in found.notes)


def test_every_importer_is_on_the_page_and_says_where_it_stands() -> None:
    names = {name for name, _, _ in lines_of("Formats of other tools")} | {"rows"}
    assert names == {entry.name for entry in IMPORTERS.entries()}
    for entry in IMPORTERS.entries():
        assert entry.item is not None
        module = __import__(entry.item.read.__module__, fromlist=["x"])
        for heading in ("Tool:", "Version:", "Fields:", "Source:"):
            assert heading in module.__doc__, entry.name
