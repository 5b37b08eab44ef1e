"""How far each metric sees what people see: a table that benchmarks/validity.py measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("validity.json")

SEPARATOR = " | "
"""Between a metric's name and what its embeddings or classes were made by."""


def describe_validity(metric: str) -> list[str]:
    """What was measured of a metric, a line an encoder; none where nobody measured it."""
    content = _read_table()
    return [
        _describe(by, row, content) for name, by, row in _rows(content["table"]) if name == metric
    ]


@cache
def _read_table() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(TABLE.read_text("utf-8"))
    return content


def _rows(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for label, row in table.items():
        name, _, by = label.partition(SEPARATOR)
        yield name, by, row


def _describe(by: str, row: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """`OCA 0.814 ± 0.014, rho with people 0.736, …` of one row."""
    content_sets = row[content["sets"]]
    parts = [f"OCA {content_sets['oca']:.3f}"]
    if "oca_se" in content_sets:
        parts[0] += f" ± {content_sets['oca_se']:.3f}"
    parts.append(f"rho with people {content_sets['rho_people']:.3f}")
    parts.append(f"with length {content_sets['rho_length']:+.3f}")
    for kind, facts in row.items():
        if isinstance(facts, Mapping) and "rho_label" in facts:
            parts.append(f"with temperature {facts['rho_label']:.3f} ({kind})")
    if "seconds" in row:
        parts.append(f"{row['seconds']:.2g} s a 1,000 responses")
    made_by = f"{by}: " if by else ""
    return f"{made_by}{', '.join(parts)} ({content['sets']}, English, {row['made']})"
