"""Columns as lists."""

from __future__ import annotations

import pyarrow as pa

from tofu_eval.core.tables import to_columns


def test_equal_texts_are_one_object() -> None:
    names = ["a" * 20, "b" * 20, None, "a" * 20]
    parts = [pa.table({"name": pa.array(names, pa.string()), "n": [1, 2, None, 4]})] * 2
    named, counts = to_columns(pa.concat_tables(parts), ("name", "n"))
    assert (named, counts) == (names * 2, [1, 2, None, 4] * 2)
    assert len({id(name) for name in named if name}) == 2


def test_of_no_rows_and_of_nulls() -> None:
    table = pa.table({"name": pa.array([], pa.string()), "n": pa.array([], pa.int32())})
    assert to_columns(table, ("name", "n")) == [[], []]
    nulls = pa.table({"name": pa.array([None, None], pa.string())})
    assert to_columns(nulls, ["name"]) == [[None, None]]
