"""Whether what a file holds is a board: its schema, its hash, and what a schema cannot say."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from typing import IO, Any, cast

import rfc8785

from tofu_eval.core.errors import DataError
from tofu_eval.leaderboard.migrations import MIGRATIONS

CURRENT = 3
"""The version of the schema that is written."""

HASH = "hash"
NOT_CONTENT = frozenset({HASH, "$schema"})

NOUNS = ("run", "model", "task", "metric")
"""What a row names; together they say which row it is."""

_RANKS = ("rank", "rank_last", "better_than", "worse_than")

_EXPECTED = {
    "const": "{}",
    "enum": "one of {}",
    "pattern": "a text like {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "minLength": "a text that is not empty",
    "maxLength": "at most {} characters",
    "minItems": "{} items",
    "maxItems": "{} items",
    "uniqueItems": "each item once",
}
"""What to say of a value that breaks a keyword of the schema."""


def schema_text() -> str:
    """The JSON Schema of the current version, as its file has it."""
    file = resources.files(__package__).joinpath("schemas", f"{CURRENT}.json")
    return file.read_text("utf-8")


def check(
    board: Any, where: object, remedy: str, *, version: int = CURRENT, hashed: bool = True
) -> None:
    """Find the first thing that is wrong with a board.

    Args:
        board: what JSON holds.
        where: the file, for the message.
        remedy: what to do, the end of the message.
        version: of the schema that it is held against; of one that is not the current, the schema
            is all that is looked at.
        hashed: whether the hash must fit too.

    Raises:
        DataError: `WHERE at PLACE: expected …, got …. REMEDY`
    """
    error = _first_error(board, _validator(version))
    if error is not None:
        raise DataError(f"{where} at {error.json_path}: {_explain(error)}. {remedy}")
    if version != CURRENT:
        return
    for place, problem in _contradictions(board):
        raise DataError(f"{where} at {place}: {problem}. {remedy}")
    if hashed:
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
    """SHA-256 of all fields but `hash` and `$schema`, as canonical JSON (RFC 8785).

    Raises:
        rfc8785.CanonicalizationError: a number that has no canonical form: not finite, or an
            integer beyond 2^53.
    """
    sink = _Hashed()
    file = cast("IO[bytes]", sink)
    lead = b"{"
    for name in sorted(board.keys() - NOT_CONTENT, key=lambda name: name.encode("utf-16be")):
        sink.write(lead + rfc8785.dumps(name) + b":")
        if is_list(board[name]):
            _dump_items(board[name], file)
        else:
            rfc8785.dump(board[name], file)
        lead = b","
    sink.write(b"}")
    return f"sha256:{sink.digest.hexdigest()}"


def is_list(value: object) -> bool:
    """Whether it is a list of JSON, also one whose items are made when they are asked for."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _dump_items(items: Iterable[Any], file: IO[bytes]) -> None:
    lead = b"["
    for item in items:
        file.write(lead)
        rfc8785.dump(item, file)
        lead = b","
    file.write(b"]" if lead == b"," else b"[]")


class _Hashed:
    """A file of which only the hash is kept: a large board is 100 MB."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Take in some more."""
        self.digest.update(content)
        return len(content)


def shortened(value: object) -> str:
    """A value as JSON, truncated to what fits into a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def block_of(row: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    """Which rows a row compares with, as JSON has them: see `ranks.block_key`."""
    responses = row["responses"] if metrics[row["metric"]]["count_sensitive"] else None
    return row["task"], row["metric"], row["signature"], row["cluster"], responses


def _first_error(board: Any, validator: Any) -> Any:
    """The first place that breaks the schema, None where none does.

    Rows are many and alike: where all of them hold as columns, the validator need not see them.
    """
    row = validator.schema.get("properties", {}).get("rows", {}).get("items", {})
    rows: Any = board.get("rows") if isinstance(board, dict) else None
    if not is_list(rows) or "properties" not in row:
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
        of_field = validator.evolve(schema=field)
        ends = (min(floats), max(floats)) if floats else ()
        if not all(of_field.is_valid(value) for value in (*ends, *(value for _, value in tried))):
            return False
    return True


def _contradictions(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(JSON path, what is wrong) of all that the schema lets pass."""
    for i, run in enumerate(board["runs"]):
        for field in ("created", "finished"):
            if run[field] is not None and not _is_time(run[field]):
                yield f"$.runs[{i}].{field}", f"expected a time, got {shortened(run[field])}"
    ids: dict[str, set[str]] = {}
    for noun in NOUNS:
        ids[noun] = set()
        for i, item in enumerate(board[f"{noun}s"]):
            if item["id"] in ids[noun]:
                yield f"$.{noun}s[{i}]", f"the {noun} {shortened(item['id'])} stands twice"
            ids[noun].add(item["id"])
    for i, run in enumerate(board["runs"]):
        yield from _unknown(f"$.runs[{i}].cells", run["cells"], ("model", "task"), ids)
    yield from _unknown("$.rows", board["rows"], NOUNS, ids)
    yield from _unknown("$.scores", board["scores"], ("run",), ids)
    yield from _unknown("$.comparisons", board["comparisons"], ("run",), ids)
    for i, one in enumerate(board["comparisons"]):
        yield from _unknown_in_comparison(f"$.comparisons[{i}]", one, ids)
    for i, row in enumerate(board["rows"]):
        if problem := _not_an_estimate(row) or _not_a_rank(row):
            yield f"$.rows[{i}]", problem
    yield from _impossible_ranks(board)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _unknown(
    where: str, rows: list[dict[str, Any]], nouns: tuple[str, ...], ids: Mapping[str, set[str]]
) -> Iterator[tuple[str, str]]:
    """Rows that name what is not listed, or that stand twice."""
    seen: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for noun in nouns:
            if row[noun] not in ids[noun]:
                yield (
                    f"{where}[{i}].{noun}",
                    f"expected one of the {noun}s listed, got {shortened(row[noun])}",
                )
        key = tuple(row[noun] for noun in nouns)
        if key in seen:
            what = " and ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))
            yield f"{where}[{i}]", f"the same {what} as {where}[{seen[key]}]"
        seen[key] = i


def _unknown_in_comparison(
    where: str, comparison: dict[str, Any], ids: Mapping[str, set[str]]
) -> Iterator[tuple[str, str]]:
    """What a comparison and its warnings name that is not listed."""
    named = [(f"{where}.baseline", "model", comparison["baseline"])]
    for i, warning in enumerate(comparison["warnings"]):
        at = f"{where}.warnings[{i}]"
        named += [(f"{at}.{noun}s", noun, warning[f"{noun}s"]) for noun in ("model", "metric")]
        named.append((f"{at}.task", "task", [warning["task"]] if warning["task"] else []))
    for place, noun, some in named:
        for id in some:
            if id not in ids[noun]:
                yield place, f"expected {noun}s that are listed, got {shortened(id)}"


def _not_an_estimate(row: dict[str, Any]) -> str | None:
    value, low, high = row["value"], row["low"], row["high"]
    if (value is None) != (row["n"] == 0):
        return (
            f"expected value null where n is 0 and only there, got {shortened(value)}, n {row['n']}"
        )
    if (low is None) != (high is None) or (value is None and low is not None):
        return f"expected low and high together, got {shortened(low)} and {shortened(high)}"
    if low is not None and not low <= value <= high:
        return f"expected low <= value <= high, got {low} <= {value} <= {high}"
    return None


def _not_a_rank(row: dict[str, Any]) -> str | None:
    ranks = [row[name] for name in _RANKS]
    if len({value is None for value in ranks}) == 2 or (ranks[0] and row["value"] is None):
        return f"expected {', '.join(_RANKS)} together, of a value, got {shortened(ranks)}"
    if (ranks[0] is None) != (row["unranked"] is not None):
        return "expected either a rank or why there is none (unranked), got " + (
            "neither" if ranks[0] is None else "both"
        )
    return None


def _impossible_ranks(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Ranks that no comparison of so many rows can give."""
    metrics = {metric["id"]: metric for metric in board["metrics"]}
    blocks: dict[tuple[Any, ...], dict[int, dict[str, int]]] = defaultdict(dict)
    for i, row in enumerate(board["rows"]):
        if row["rank"] is not None:
            blocks[block_of(row, metrics)][i] = {name: row[name] for name in _RANKS}
    for members in blocks.values():
        ranks = Counter(row["rank"] for row in members.values())
        for i, row in sorted(members.items(), key=lambda item: -_highest(item[1])):
            if problem := _impossible_rank(row, len(members), ranks):
                yield f"$.rows[{i}].rank", problem
        better, worse = (
            sum(row[name] for row in members.values()) for name in ("better_than", "worse_than")
        )
        if better != worse:
            yield (
                f"$.rows[{next(iter(members))}].better_than",
                f"expected as many rows that are better as worse, over the {len(members)} that it "
                f"compares with, got {better} and {worse}",
            )


def _highest(row: dict[str, Any]) -> int:
    return int(max(row["rank"], row["rank_last"]))


def _impossible_rank(row: dict[str, Any], count: int, ranks: Mapping[int, int]) -> str | None:
    rank, last = row["rank"], row["rank_last"]
    better, worse = row["better_than"], row["worse_than"]
    if not rank <= last <= count:
        return f"expected rank <= rank_last <= {count}, the rows that compare, got {rank}, {last}"
    above = sum(number for other, number in ranks.items() if other < rank)
    if rank - 1 > above:
        return f"expected {rank - 1} rows of lower ranks, got {above}"
    if better + worse > count - 1:
        return f"expected at most {count - 1} rows better and worse, got {better} and {worse}"
    return None


def _explain(error: Any) -> str:
    """One clause on a `jsonschema.ValidationError`: got vs expected."""
    keyword, wanted, got = error.validator, error.validator_value, error.instance
    if keyword == "required":
        missing = next(name for name in wanted if name not in got)
        return f"the field '{missing}' is missing"
    if keyword == "additionalProperties":
        extra = next(name for name in got if name not in error.schema["properties"])
        return f"the field {shortened(extra)} is not known"
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"expected {' or '.join(names)}, got {shortened(got)}"
    return f"expected {_EXPECTED[keyword].format(shortened(wanted))}, got {shortened(got)}"


def _validator(version: int) -> Any:
    """The validator of a version's schema."""
    if version == CURRENT:
        return _current_validator()
    return _validator_of(MIGRATIONS[version].schema)


@cache
def _current_validator() -> Any:
    return _validator_of(json.loads(schema_text()))


def _validator_of(schema: Mapping[str, Any]) -> Any:
    """A validator for which only a finite number is a number."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
            "string": lambda _, value: isinstance(value, str) and _is_encodable(value),
        }
    )
    return extend(Draft202012Validator, type_checker=types)(schema)


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
