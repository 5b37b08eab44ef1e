"""Values and bytes that no reader expects: anything at all, and good input with a fault in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]

ODD_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "\ud800",
        "\u2028",
        "a\u0301",
        "\U000e0041",
        "\x1b[2J",
        "../x",
        "/",
        "~",
    ),
    *("con", "-", "--", "=", "null", "NaN", "1e999", "{{ x }}", "{% for", "<think>", "</think>"),
    *("[", '{"a":', "x" * 5000, "9" * 5000, "09" * 2200, "&a", "*a", "!!python/name:os.system"),
)
ODD_NUMBERS = (
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(ODD_TEXTS),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
WORDS = st.sampled_from(
    ["id", "prompt", "response", "responses", "role", "content", "text", "model", "messages"]
)
"""Names that readers look for."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORDS, inner),
    max_leaves=6,
)
"""Anything that JSON can hold, numbers and half characters too that only Python's lets pass."""


@st.composite
def faulty(draw: st.DrawFn, good: Sequence[Any], most: int = 2) -> Any:
    """One of the good values with up to `most` faults: a part exchanged, lost, doubled, renamed."""
    value = copy.deepcopy(draw(st.sampled_from(list(good))))
    for _ in range(draw(st.integers(1, most))):
        value = _with_fault(draw, value)
    return value


def _with_fault(draw: st.DrawFn, value: Any) -> Any:
    way = draw(st.sampled_from(_ways(value)))
    if not way:
        return draw(VALUES)
    around = value
    for step in way[:-1]:
        around = around[step]
    last = way[-1]
    fault = draw(st.sampled_from(["exchange", "exchange", "lose", "double", "wrap", "rename"]))
    if fault == "lose":
        del around[last]
    elif fault == "double" and isinstance(around, list):
        around.insert(last, copy.deepcopy(around[last]))
    elif fault == "wrap":
        around[last] = draw(st.sampled_from([[around[last]], {"text": around[last]}, [[], {}]]))
    elif fault == "rename" and isinstance(around, dict):
        around[draw(st.text(max_size=4) | WORDS)] = around.pop(last)
    else:
        around[last] = draw(VALUES)
    return value


def _ways(value: Any, way: Path = ()) -> list[Path]:
    """The ways to a value and to all within it."""
    if not isinstance(value, dict | list):
        return [way]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [way, *(found for key, one in inner for found in _ways(one, (*way, key)))]


def as_json(value: Any) -> bytes:
    """JSON as Python writes it, halves of characters and infinite numbers as they come."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """Bytes of one of the good files: cut, overwritten, doubled, spliced with another; or any."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(list(good))))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        fault = draw(
            st.sampled_from(["cut", "lose", "write", "write", "insert", "double", "splice"])
        )
        if fault == "cut":
            del data[start:]
        elif fault == "lose":
            del data[start:end]
        elif fault == "write":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif fault == "insert":
            data[start:start] = draw(st.binary(min_size=1, max_size=8))
        elif fault == "double":
            data[start:start] = data[start:end] * draw(st.integers(1, 50))
        else:
            other = draw(st.sampled_from(list(good)))
            data[start:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)
