"""Rows of CSV and TSV files, whose header says what the columns are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain
from typing import IO, Any

from tofu_eval.importers import json_rows
from tofu_eval.importers.json_rows import BadLine


def is_table(text: bytes) -> bool:
    """Whether a text that has no name to tell it is a table: a header of at least two columns."""
    if not text or text[:1] in b"{[":
        return False
    header = text.partition(b"\n")[0]
    return any(mark in header for mark in (b",", b"\t", b";"))


def read_rows(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """The lines at which rows begin, from 1, and the rows by the names in the header.

    Raises:
        BadLine: two columns have one name, a row has other cells than the header, or it is no CSV.
    """
    csv.field_size_limit(json_rows.LONGEST)
    text = io.TextIOWrapper(json_rows.keep_open(file), "utf-8-sig", newline="")
    first = text.readline()
    delimiter = max("\t,;", key=first.count)
    reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
    before = 0
    try:
        names = [name.strip() for name in next(reader, [])]
        for name in names:
            if names.count(name) > 1:
                raise BadLine(1, f"the column '{name}' stands twice in the header")
        before = reader.line_num
        for cells in reader:
            line, before = before + 1, reader.line_num
            if len(cells) == len(names):
                yield line, dict(zip(names, cells, strict=True))
            elif cells:
                what = f"{len(cells)} cells where the header has {len(names)} columns"
                raise BadLine(line, what)
    except csv.Error as error:
        raise BadLine(before + 1, f"not CSV: {error}") from error
