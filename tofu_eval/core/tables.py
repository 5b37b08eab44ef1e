"""The Arrow schema of each table, and rows as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

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
