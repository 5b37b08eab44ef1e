"""The Arrow schema of each table, rows as a table, and columns as lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.states import State

PROMPT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field(
            "messages",
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
            nullable=False,
        ),
        pa.field("references", pa.list_(pa.string()), nullable=False),
        pa.field("metadata", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)

RESPONSE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32())),
        pa.field("finish_reason", pa.string()),
        pa.field("logprob", pa.float64()),
        pa.field("seed", pa.uint32()),
        pa.field("correct", pa.bool_()),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reasoning", pa.string()),
        pa.field("given", pa.map_(pa.string(), pa.float64())),
        pa.field("token_logprobs", pa.list_(pa.float32())),
    ]
)

SCORE_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("n", pa.int32(), nullable=False),
    ]
)

EQUAL_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("noise", pa.float64(), nullable=False),
    ]
)

ESTIMATE_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("undefined", pa.int32(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("signature", pa.string(), nullable=False),
    ]
)


def to_table(rows: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Frozen rows (Response, Score, Estimate) as an Arrow table of their schema."""
    rows = list(rows)
    columns = [[getattr(row, name) for row in rows] for name in schema.names]
    return pa.table(
        [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


def check_rows_of(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, of a table that anybody may have made.

    Raises:
        ArrowException, KeyError, ValueError: a column is not there or of another type, a text is no
            UTF-8, a number is not finite, or a state is none.
    """
    rows = table.select(schema.names).cast(schema)
    rows.validate(full=True)
    if "state" in schema.names:
        states = rows.column("state").unique().to_pylist()
        if unknown := set(states) - {*get_args(State)}:
            raise ValueError(f"{min(unknown)!r} is no state of a response")
    for name, column in zip(schema.names, rows.columns, strict=True):
        if pa.types.is_floating(column.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
            raise ValueError(f"its column '{name}' has a number that is not finite")
    return rows


def to_columns(table: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    """Some columns as lists, in which equal texts are one object: a run has millions of rows, and
    few models, tasks, metrics and prompts."""
    return [_to_list(table.column(name)) for name in names]


def _to_list(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_string(column.type):
        values: list[Any] = column.to_pylist()
        return values
    encoded = column.combine_chunks().dictionary_encode()
    texts = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    found: list[Any] = texts[encoded.indices.fill_null(len(texts) - 1).to_numpy()].tolist()
    return found
