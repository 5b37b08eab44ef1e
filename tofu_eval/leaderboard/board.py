"""What a leaderboard holds, made from a run's tables; and the file, whole and checked.

`schemas/` says what it looks like; `schema.py` says what a schema cannot.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tofu_eval.core.errors import DataError
from tofu_eval.core.tables import ESTIMATE_SCHEMA
from tofu_eval.core.types import digest
from tofu_eval.leaderboard.migrations import MIGRATIONS, migrate
from tofu_eval.leaderboard.prompt_scores import of_run, read_scores
from tofu_eval.leaderboard.ranks import ranked
from tofu_eval.leaderboard.schema import CURRENT, HASH, check, content_hash, short
from tofu_eval.run.files import write_bytes

Board = dict[str, Any]

FROM_FILE = "file"
"""The engine of a model whose responses came as a file."""

_TASK = ("version", "digest", "prompts", "sampling", "licence", "citation")
_MODEL = ("identity", "engine", "series", "seed", "temperature")
_METRIC = ("version", "direction", "measures", "range", "paper")


@dataclass(frozen=True)
class Source:
    """A board that takes part in a merge: what messages call it, and its per-prompt rows."""

    name: str
    board: Mapping[str, Any]
    scores: pa.Table | None = None


def build_leaderboard(
    estimates: pa.Table, manifest: Mapping[str, Any], scores: pa.Table | None = None
) -> Board:
    """The content of a leaderboard of one run.

    Args:
        estimates: a table of ESTIMATE_SCHEMA.
        manifest: run.json; of `metrics`, those that the estimates name.
        scores: a table of SCORE_SCHEMA, for the ranks; without it they are null.
    Returns: what `write_leaderboard` takes, which is also what finds a missing part.
    Raises:
        DataError: the scores hold two values for one prompt.
    """
    rows = estimates.select(ESTIMATE_SCHEMA.names).to_pylist()
    run = _run(manifest, rows)
    named = {row["metric"] for row in rows}
    metrics = [
        {"id": name, "name": name, **_pick(facts, _METRIC), "package": facts.get("package")}
        for name, facts in manifest.get("metrics", {}).items()
        if name in named
    ]
    directions = {metric["id"]: metric.get("direction", "none") for metric in metrics}
    told = of_run(run["id"], scores)
    models = manifest["models"]
    # Nobody knows how the responses in a file were drawn.
    generated = {row["task"] for row in rows if models[row["model"]]["engine"] != FROM_FILE}
    return {
        "schema_version": CURRENT,
        "runs": [run],
        "tasks": [
            {
                "id": name,
                "name": name,
                **_pick(facts, _TASK),
                **({} if name in generated else {"sampling": None}),
                "package": facts.get("package"),
            }
            for name, facts in manifest["tasks"].items()
        ],
        "models": [
            {"id": name, "name": name, **_pick(facts, _MODEL)}
            for name, facts in manifest["models"].items()
        ],
        "metrics": metrics,
        "rows": ranked([{"run": run["id"], **row} for row in rows], directions, told),
        "scores": None,
    }


def sealed(board: Mapping[str, Any]) -> Board:
    """The board with the hash of its content; it must be checked for all else."""
    content = {name: value for name, value in board.items() if name != HASH}
    return {"schema_version": content.pop("schema_version"), HASH: content_hash(board), **content}


def open_board(file: Path) -> Source:
    """A leaderboard with its per-prompt rows, where it has any."""
    board = read_leaderboard(file)
    return Source(str(file), board, read_scores(board, file.parent))


def write_leaderboard(path: Path | str, board: Mapping[str, Any]) -> Board:
    """Check a leaderboard and write it atomically, with its hash.

    Returns: what `read_leaderboard` would.
    Raises:
        DataError: it is not a valid leaderboard; nothing is written.
        StoreError: the disk is full or read-only; the file that was there is untouched.
    """
    path = Path(path)
    made, text = text_of(board, path)
    write_bytes(path, text)
    return made


def text_of(board: Mapping[str, Any], name: object = "The leaderboard") -> tuple[Board, bytes]:
    """A board, sealed, and the text of its file; `name` is what messages call it.

    Raises:
        DataError: it is not a valid leaderboard.
    """
    remedy = "Nothing is written: correct what it was built from, then run the same command again."
    try:
        # What is checked is what a reader would find.
        content = json.loads(json.dumps(board))
        if isinstance(content, dict):
            content = {**content, HASH: "sha256:" + "0" * 64}
        check(content, name, remedy, hashed=False)
        made = sealed(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{name} cannot be made: {error}. {remedy}") from error
    return made, _text(made).encode("utf-8")


def read_leaderboard(path: Path | str) -> Board:
    """Read a leaderboard, check it, and bring it to the current version of the schema.

    Raises:
        DataError: there is no such file, or it is not a valid leaderboard; says where and why.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read the leaderboard {path}: {error.strerror or error}. "
            "Make one: tofu-eval run … --output DIR writes DIR/leaderboard.json"
        ) from error
    return parse_leaderboard(content, path)


def parse_leaderboard(content: bytes, name: object) -> Board:
    """The same of a file's bytes; `name` is what messages call it."""
    remedy = "Undo the change, or make it again: run the command that made it."
    try:
        # Editors on Windows put a byte-order mark before what they save.
        text = content.decode("utf-8-sig")
        board = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
        version = _version(board, name)
        check(board, name, remedy, version=version)
        if version != CURRENT:
            board = migrate(board)
            check(board, name, remedy)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name}, line {error.lineno} column {error.colno}: this is not JSON ({error.msg}). "
            f"{remedy}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}, byte {error.start}: expected UTF-8, got {error.object[error.start]:#04x}. "
            f"{remedy}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{name}: its brackets are nested too deep to be read. {remedy}") from error
    except ValueError as error:  # of _object, and numbers without a canonical form
        raise DataError(f"{name}: {error}. {remedy}") from error
    return dict(board)


def _version(board: Any, name: object) -> int:
    """Which schema a board is to be held against: its own where it is known."""
    version = board.get("schema_version") if isinstance(board, dict) else None
    if type(version) is int and version > CURRENT:
        raise DataError(
            f"{name} has schema version {version}, this tofu-eval reads up to {CURRENT}. "
            "Get a newer one: pip install --upgrade tofu-eval"
        )
    return version if type(version) is int and version in MIGRATIONS else CURRENT


def _run(manifest: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the rows come from. Runs of before there were ids get one from what they are."""
    models, tasks = manifest["models"], manifest["tasks"]
    who = [manifest.get("created"), *([name, models[name]["identity"]] for name in models)]
    machine = [manifest["machine"]] if "machine" in manifest else []
    packages = [facts.get("package") for facts in (*tasks.values(), *manifest["metrics"].values())]
    return {
        "id": manifest.get("id")
        or digest([*who, *([t, tasks[t].get("digest")] for t in tasks)])[:16],
        **_pick(manifest, ("tool", "created")),
        "finished": manifest.get("finished"),
        "seed": manifest.get("settings", {}).get("seed"),
        "machines": manifest.get("machines", machine),
        "packages": {
            **manifest.get("versions", {}),
            **{package["name"]: package["version"] for package in packages if package},
        },
        "seconds": manifest.get("timings", {}),
        "places": [
            {
                "model": model,
                "task": task,
                "prompt_format": models[model].get("prompt_format", {}).get(task),
                "tokens": manifest.get("tokens", {}).get(model, {}).get(task),
            }
            for model, task in dict.fromkeys((row["model"], row["task"]) for row in rows)
        ],
    }


def _text(board: Mapping[str, Any]) -> str:
    """JSON with a line an item, so that a version-control system shows what changed."""
    fields = []
    for name, value in board.items():
        if isinstance(value, list) and value:
            items = ",\n".join(f"    {_json(item)}" for item in value)
            fields.append(f"  {_json(name)}: [\n{items}\n  ]")
        else:
            fields.append(f"  {_json(name)}: {_json(value)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the field {short(twice)} stands twice in one object")
    return made


def _integer(digits: str) -> int | float:
    # Python refuses to convert thousands of digits; as a float they are infinite, which the
    # schema refuses with their place.
    return int(digits) if len(digits) < 400 else float(digits)


def _pick(source: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    return {field: source[field] for field in fields if field in source}
