"""Whether a board is what it says: its schema, its hash, and what a schema cannot say."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import rfc8785

from tofu_eval.core.errors import DataError

CURRENT = 2
"""The version of the schema that is written."""

HASH = "hash"

_EXPECTED = {
    "const": "{}",
    "enum": "one of {}",
    "pattern": "a text like {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "minLength": "a text that is not empty",
    "minItems": "{} items",
    "maxItems": "{} items",
}
"""What to say of a value that breaks a keyword of the schema."""

_NOUNS = {1: ("model", "task", "metric"), 2: ("run", "model", "task", "metric")}
"""What a row of each version names; together they say which row it is."""


def check(
    board: Any, where: object, remedy: str, *, version: int = CURRENT, hashed: bool = True
) -> None:
    """Find the first thing that is wrong with a board.

    Args:
        board: what JSON holds.
        where: the file, for the message.
        remedy: what to do, the end of the message.
        version: of the schema that it is held against.
        hashed: whether the hash must fit too, where the version has one.

    Raises:
        DataError: `WHERE at PLACE: expected …, got …. REMEDY`
    """
    error = _first_error(board, _validator(version))
    if error is not None:
        raise DataError(f"{where} at {error.json_path}: {_explain(error)}. {remedy}")
    for place, problem in _contradictions(board, version):
        raise DataError(f"{where} at {place}: {problem}. {remedy}")
    if hashed and version >= 2:
        try:
            wanted = content_hash(board)
        except rfc8785.CanonicalizationError as problem:
            raise DataError(f"{where} has no canonical form: {problem}. {remedy}") from problem
        if board[HASH] != wanted:
            raise DataError(
                f"{where} at $.{HASH}: expected {wanted}, which is the hash of its content, got "
                f"{board[HASH]}: it was changed after it was written. {remedy}"
            )


def content_hash(board: Mapping[str, Any]) -> str:
    """SHA-256 of all fields but `hash`, as canonical JSON (RFC 8785).

    Raises:
        rfc8785.CanonicalizationError: a number that has no canonical form: not finite, or an
            integer beyond 2^53.
    """
    content = {name: value for name, value in board.items() if name != HASH}
    return f"sha256:{hashlib.sha256(rfc8785.dumps(content)).hexdigest()}"


def short(value: object) -> str:
    """A value as JSON, cut to what fits into a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _first_error(board: Any, validator: Any) -> Any:
    """The first place that breaks the schema, None where none does.

    Rows are many and alike: where all of them hold as columns, the validator need not see them.
    """
    row = validator.schema["properties"]["rows"]["items"]
    rows = board.get("rows") if isinstance(board, dict) else None
    if not isinstance(rows, list) or "properties" not in row:
        return next(validator.iter_errors(board), None)
    start, left = 0, []
    for start in range(0, len(rows), _CHUNK):
        left = rows[start : start + _CHUNK]
        if not _columns_hold(left, row, validator):
            break
        left = []
    error = next(validator.iter_errors({**board, "rows": left}), None)
    if error is not None and len(error.path) > 1 and error.path[0] == "rows":
        error.path[1] += start
    return error


_CHUNK = 10_000
"""Rows that are looked at together."""


def _columns_hold(rows: list[Any], schema: Mapping[str, Any], validator: Any) -> bool:
    """Whether all rows fit their schema for sure: each distinct value of a field is tried once.

    Of floats only the ends are: what the schema says of numbers are types and intervals.
    """
    fields = schema["properties"]
    if not all(isinstance(row, dict) and row.keys() == fields.keys() for row in rows):
        return False
    for name, field in fields.items():
        column = [row[name] for row in rows]
        floats = [value for value in column if type(value) is float]
        if not all(map(math.isfinite, floats)):
            return False
        try:
            # With its type, because True == 1.
            tried = {(type(value), value) for value in column if type(value) is not float}
        except TypeError:  # a list or an object
            return False
        own = validator.evolve(schema=field)
        ends = (min(floats), max(floats)) if floats else ()
        if not all(own.is_valid(value) for value in (*ends, *(value for _, value in tried))):
            return False
    return True


def _contradictions(board: dict[str, Any], version: int) -> Iterator[tuple[str, str]]:
    """(JSON path, what is wrong) of all that the schema lets pass."""
    nouns, key = _NOUNS[version], "name" if version == 1 else "id"
    for place, time in _times(board, version):
        try:
            datetime.fromisoformat(time)
        except ValueError:
            yield place, f"expected a time, got {short(time)}"
    names: dict[str, set[str]] = {}
    for noun in nouns:
        names[noun] = set()
        for i, item in enumerate(board[f"{noun}s"]):
            if item[key] in names[noun]:
                yield f"$.{noun}s[{i}]", f"the {noun} {short(item[key])} stands twice"
            names[noun].add(item[key])
            if item[key] != item.get("name", item[key]) and not item[key].startswith(
                f"{item['name']}#"
            ):
                yield (
                    f"$.{noun}s[{i}].id",
                    f"expected {short(item['name'])}, got {short(item[key])}",
                )
    for i, run in enumerate(board["runs"] if version >= 2 else ()):
        yield from _unknown(f"$.runs[{i}].places", run["places"], ("model", "task"), names)
    yield from _unknown("$.rows", board["rows"], nouns, names)
    for i, row in enumerate(board["rows"]):
        if problem := _not_an_estimate(row) or (version >= 2 and _not_a_rank(row)):
            yield f"$.rows[{i}]", problem


def _times(board: dict[str, Any], version: int) -> Iterator[tuple[str, str]]:
    if version == 1:
        yield "$.created", board["created"]
        return
    for i, run in enumerate(board["runs"]):
        for field in ("created", "finished"):
            if run[field] is not None:
                yield f"$.runs[{i}].{field}", run[field]


def _unknown(
    where: str, rows: list[dict[str, Any]], nouns: tuple[str, ...], names: Mapping[str, set[str]]
) -> Iterator[tuple[str, str]]:
    """Rows that name what is not listed, or that stand twice."""
    seen: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for noun in nouns:
            if row[noun] not in names[noun]:
                yield (
                    f"{where}[{i}].{noun}",
                    f"expected one of the {noun}s listed, got {short(row[noun])}",
                )
        place = tuple(row[noun] for noun in nouns)
        if place in seen:
            what = f"{', '.join(nouns[:-1])} and {nouns[-1]}"
            yield f"{where}[{i}]", f"the same {what} as {where}[{seen[place]}]"
        seen[place] = i


def _not_an_estimate(row: dict[str, Any]) -> str | None:
    value, low, high = row["value"], row["low"], row["high"]
    if (value is None) != (row["n"] == 0):
        return f"expected value null where n is 0 and only there, got {short(value)}, n {row['n']}"
    if (low is None) != (high is None) or (value is None and low is not None):
        return f"expected low and high together, got {short(low)} and {short(high)}"
    if low is not None and not low <= value <= high:
        return f"expected low <= value <= high, got {low} <= {value} <= {high}"
    return None


def _not_a_rank(row: dict[str, Any]) -> str | None:
    told = [row[name] for name in ("rank", "better_than", "worse_than")]
    if len({value is None for value in told}) == 2 or (told[0] and row["value"] is None):
        return f"expected rank, better_than and worse_than together, of a value, got {short(told)}"
    return None


def _explain(error: Any) -> str:
    """One clause on a `jsonschema.ValidationError`: got vs expected."""
    keyword, wanted, got = error.validator, error.validator_value, error.instance
    if keyword == "required":
        missing = next(name for name in wanted if name not in got)
        return f"the field '{missing}' is missing"
    if keyword == "additionalProperties":
        extra = next(name for name in got if name not in error.schema["properties"])
        return f"the field {short(extra)} is not known"
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"expected {' or '.join(names)}, got {short(got)}"
    return f"expected {_EXPECTED[keyword].format(short(wanted))}, got {short(got)}"


@cache
def _validator(version: int) -> Any:
    """The validator of a version's schema, for which only a finite number is a number."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
            "string": lambda _, value: isinstance(value, str) and _is_encodable(value),
        }
    )
    file = resources.files(__package__).joinpath("schemas", f"{version}.json")
    return extend(Draft202012Validator, type_checker=types)(json.loads(file.read_text("utf-8")))


def _is_number(value: object) -> bool:
    # NaN, infinities and integers that no float can hold all fail the comparison.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )


def _is_encodable(text: str) -> bool:
    """Whether it is free of unpaired surrogates, which no UTF-8 file can hold."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
