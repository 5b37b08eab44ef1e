"""`leaderboard.json`: built from a run's tables, checked whenever it is written or read.

`schema.json` says what it looks like; `_contradictions` says what a schema cannot.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa

from tofu_eval.errors import DataError
from tofu_eval.store import write_json
from tofu_eval.types import ESTIMATE_SCHEMA

SCHEMA_VERSION = 1

_TOP = ("tool", "created")
_TASK = ("version", "digest", "prompts", "sampling", "licence", "citation")
_MODEL = ("identity", "prompt_format", "engine")
_METRIC = ("version", "direction", "measures", "range", "paper")

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


def build_leaderboard(estimates: pa.Table, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The content of leaderboard.json.

    Args:
        estimates: a table of ESTIMATE_SCHEMA.
        manifest: run.json; used are `tool`, `created`, `models`, `tasks` and, of `metrics`, those
            that the estimates name.
    Returns: what `write_leaderboard` takes, which is also what finds a missing part.
    """
    named = estimates.column("metric").unique().to_pylist()
    return {
        "schema_version": SCHEMA_VERSION,
        **_pick(manifest, _TOP),
        "tasks": [{"name": name, **_pick(t, _TASK)} for name, t in manifest["tasks"].items()],
        "models": [{"name": name, **_pick(m, _MODEL)} for name, m in manifest["models"].items()],
        "metrics": [
            {"name": name, **_pick(facts, _METRIC)}
            for name, facts in manifest["metrics"].items()
            if name in named
        ],
        "rows": estimates.select(ESTIMATE_SCHEMA.names).to_pylist(),
    }


def write_leaderboard(path: Path | str, board: Mapping[str, Any]) -> None:
    """Check a leaderboard and write it atomically.

    Raises:
        DataError: it is not a valid leaderboard; nothing is written.
        StoreError: the disk is full or read-only; the file that was there is untouched.
    """
    path = Path(path)
    remedy = "Nothing is written: correct what it was built from, then run the same command again."
    try:
        # What is checked is what a reader would find.
        _check(json.loads(json.dumps(board)), path, remedy)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be made: {error}. {remedy}") from error
    write_json(path, board)


def read_leaderboard(path: Path | str) -> dict[str, Any]:
    """Read a leaderboard and check it.

    Raises:
        DataError: there is no such file, or it is not a valid leaderboard; says where and why.
    """
    path = Path(path)
    remedy = "Undo the change, or make it again: run the command that made it."
    try:
        # Editors on Windows put a byte-order mark before what they save.
        text = path.read_bytes().decode("utf-8-sig")
        board = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
        _check(board, path, remedy)
    except OSError as error:
        raise DataError(
            f"Cannot read the leaderboard {path}: {error.strerror or error}. "
            "Make one: tofu-eval run … --output DIR writes DIR/leaderboard.json"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno} column {error.colno}: this is not JSON ({error.msg}). "
            f"{remedy}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, byte {error.start}: expected UTF-8, got {error.object[error.start]:#04x}. "
            f"{remedy}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}: its brackets are nested too deep to be read. {remedy}") from error
    except ValueError as error:  # of _object
        raise DataError(f"{path}: {error}. {remedy}") from error
    return dict(board)


def _check(board: Any, path: Path, remedy: str) -> None:
    error = next(_validator().iter_errors(board), None)
    if error is not None:
        raise DataError(f"{path} at {error.json_path}: {_explain(error)}. {remedy}")
    for place, problem in _contradictions(board):
        raise DataError(f"{path} at {place}: {problem}. {remedy}")


def _contradictions(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(JSON path, what is wrong) of all that the schema lets pass."""
    try:
        datetime.fromisoformat(board["created"])
    except ValueError:
        yield "$.created", f"expected a time, got {_short(board['created'])}"
    names: dict[str, set[str]] = {}
    for noun in ("model", "task", "metric"):
        names[noun] = set()
        for i, item in enumerate(board[f"{noun}s"]):
            if item["name"] in names[noun]:
                yield f"$.{noun}s[{i}]", f"the {noun} {_short(item['name'])} stands twice"
            names[noun].add(item["name"])
    seen: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(board["rows"]):
        for noun, known in names.items():
            if row[noun] not in known:
                yield (
                    f"$.rows[{i}].{noun}",
                    f"expected one of the {noun}s listed, got {_short(row[noun])}",
                )
        place = tuple(row[noun] for noun in names)
        if place in seen:
            yield f"$.rows[{i}]", f"the same model, task and metric as $.rows[{seen[place]}]"
        seen[place] = i
        if problem := _not_an_estimate(row):
            yield f"$.rows[{i}]", problem


def _not_an_estimate(row: dict[str, Any]) -> str | None:
    value, low, high = row["value"], row["low"], row["high"]
    if (value is None) != (row["n"] == 0):
        return f"expected value null where n is 0 and only there, got {_short(value)}, n {row['n']}"
    if (low is None) != (high is None) or (value is None and low is not None):
        return f"expected low and high together, got {_short(low)} and {_short(high)}"
    if low is not None and not low <= value <= high:
        return f"expected low <= value <= high, got {low} <= {value} <= {high}"
    return None


def _explain(error: Any) -> str:
    """One clause on a `jsonschema.ValidationError`: got vs expected."""
    keyword, wanted, got = error.validator, error.validator_value, error.instance
    if keyword == "required":
        missing = next(name for name in wanted if name not in got)
        return f"the field '{missing}' is missing"
    if keyword == "additionalProperties":
        extra = next(name for name in got if name not in error.schema["properties"])
        return f"the field {_short(extra)} is not known"
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"expected {' or '.join(names)}, got {_short(got)}"
    return f"expected {_EXPECTED[keyword].format(_short(wanted))}, got {_short(got)}"


@cache
def _validator() -> Any:
    """The schema's validator, for which only a finite number is a number."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
            "string": lambda _, value: isinstance(value, str) and _is_encodable(value),
        }
    )
    schema = json.loads(resources.files(__package__).joinpath("schema.json").read_text("utf-8"))
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
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the field {_short(twice)} stands twice in one object")
    return made


def _integer(digits: str) -> int | float:
    # Python refuses to convert thousands of digits; as a float they are infinite, which the
    # schema refuses with their place.
    return int(digits) if len(digits) < 400 else float(digits)


def _pick(source: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    return {field: source[field] for field in fields if field in source}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
