"""Is all of a run there, whole and once? Every table is read again and checked against run.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tofu_eval.core.errors import ConfigError, DataError, StoreError
from tofu_eval.core.tables import RESPONSE_SCHEMA
from tofu_eval.core.types import digest, seed_of
from tofu_eval.run.files import (
    DAMAGED,
    TEMPORARY,
    check_table,
    is_damage,
    part_number,
    parts_of,
    read_parquet,
    remove_file,
    set_aside,
    write_part,
)
from tofu_eval.run.owed import count_owed
from tofu_eval.run.store import Run

AGAIN = "run the same command again"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a run: where, what, and what mends it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. To mend it: {self.remedy}."


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` read and what it found wrong; nothing in `problems` is a whole run."""

    files: int
    responses: int
    problems: tuple[Problem, ...]


def verify(path: Path | str) -> Report:
    """Read every table of a run again; nothing is changed.

    Found are a changed byte, a file that is cut, a part that is missing, keys and samples that
    stand twice, rows that are not of their place, seeds that do not belong to their rows, and
    prompts that are not those of run.json.

    Raises:
        StoreError: there is no run, or its run.json is damaged.
    """
    run = Run.open(path)
    problems: list[Problem] = []
    responses = 0
    prompts = {task: _read_prompts(run, task) for task in run.manifest["tasks"]}
    for model in run.manifest["models"]:
        for task, (ids, _) in prompts.items():
            count, found = _place(run, model, task, ids)
            responses += count
            problems += found
    problems += [problem for _, problem in prompts.values() if problem is not None]
    problems += _others(run)
    return Report(len(run.tables()), responses, tuple(problems))


def leftovers(path: Path | str) -> list[Path]:
    """Files of a run that nothing reads: of killed processes, and damaged ones set aside.

    Raises:
        StoreError: there is no run.
    """
    run = Run.open(path)
    marks = (TEMPORARY, DAMAGED)
    return sorted(f for f in run.path.rglob(".*") if f.is_file() and f.name.startswith(marks))


def clean(path: Path | str) -> list[str]:
    """Remove leftovers and rows that stand twice, set damaged tables aside; says what it did.

    Raises:
        StoreError: there is no run, another process writes it, or the disk refuses.
    """
    Run.open(path)  # before `writing` makes a directory
    found = leftovers(path)
    done = [f"removed {file.relative_to(path)}" for file in found]
    with Run.writing(path) as run:
        for file in found:
            remove_file(file)
        for file in run.tables():
            try:
                check_table(file)
            except StoreError as error:
                if not is_damage(error):
                    raise
                set_aside(file)
                done.append(f"set aside {file.relative_to(path)}; to make it anew, {AGAIN}")
        for folder in sorted((run.path / "responses").glob("*/*")):
            done += _drop_doubles(folder, run.path)
    return done


def runs_in(folder: Path) -> list[Path]:
    """The run directories in a folder, itself included, three levels deep at most."""
    folders = [
        p.parent for depth in ("", "*/", "*/*/", "*/*/*/") for p in folder.glob(depth + "run.json")
    ]
    return sorted(set(folders))


def size(path: Path) -> int:
    """Bytes that a run takes on the disk."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


# One model on one task


_LOOKED_AT = ("key", "model", "task", "prompt_id", "sample", "seed")
_KEPT = ("key", "prompt_id", "sample")
"""Columns that are held against run.json, and those of all parts together: never a text."""


def _place(run: Run, model: str, task: str, ids: set[str] | None) -> tuple[int, list[Problem]]:
    """How many responses a model has on a task, and what is wrong with them.

    `ids` are of the task's prompts; None where nobody can say.
    """
    folder = run.path / "responses" / model / task
    problems: list[Problem] = []
    tables = [RESPONSE_SCHEMA.empty_table().select(_KEPT)]
    parts = parts_of(folder)
    for part in parts:
        try:
            rows = read_parquet(part, RESPONSE_SCHEMA).select(_LOOKED_AT)
        except StoreError as error:
            if not is_damage(error):
                raise
            why = str(error.__cause__ or error).partition("\n")[0]
            problems.append(
                Problem(
                    _short_path(part, run),
                    f"it is damaged: {why}",
                    f"{AGAIN}; only its rows are made again",
                )
            )
            continue
        problems += _part(run, model, task, _short_path(part, run), rows, ids)
        tables.append(rows.select(_KEPT))
    table = pa.concat_tables(tables)
    problems += _doubles(f"responses/{model}/{task}", table)
    owed = count_owed(run, model, task)
    distinct = pc.count_distinct(table.column("key")).as_py()
    if owed is not None and distinct < owed and (parts or run.manifest["status"] == "complete"):
        numbers = {part_number(part) for part in parts}
        gaps = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
        names = ", ".join(f"part-{number:06d}" for number in gaps)
        missing = f"; missing: {names}" if gaps else ""
        problems.append(
            Problem(
                f"responses/{model}/{task}",
                f"{distinct} of {owed} responses are there{missing}",
                f"{AGAIN}; it makes the other {owed - distinct}",
            )
        )
    return len(table), problems


def _part(
    run: Run, model: str, task: str, where: str, rows: pa.Table, ids: set[str] | None
) -> Iterator[Problem]:
    """What is wrong with the rows of one part, each kind once."""
    generated = run.manifest["models"][model]["engine"] != "file"
    seed = run.manifest.get("settings", {}).get("seed")
    remedy = f"remove that file and {AGAIN}"
    own = pc.and_(pc.equal(rows.column("model"), model), pc.equal(rows.column("task"), task))
    if strays := len(rows) - pc.sum(own, min_count=0).as_py():
        yield Problem(where, f"{strays} rows are of another model or task", remedy)
    prompts = rows.column("prompt_id").to_pylist()
    unknown = [] if ids is None else [id for id in prompts if id not in ids]
    if unknown:
        what = f"{len(unknown)} rows are of prompts that the task has not"
        yield Problem(where, f"{what} ('{unknown[0]}')", remedy)
    if generated and seed is not None:
        pairs = zip(*(rows.column(name).to_pylist() for name in ("key", "seed")), strict=True)
        odd = sum(own is not None and not _is_its_seed(seed, key, own) for key, own in pairs)
        if odd:
            yield Problem(where, f"{odd} rows have a seed that is not theirs", remedy)


def _is_its_seed(seed: int, key: str, own: int) -> bool:
    """Whether a row's seed derives from its key; the second form is for two that met."""
    return own in (seed_of(seed, key), seed_of(seed, key, 1))


def _doubles(where: str, rows: pa.Table) -> Iterator[Problem]:
    twice = _find_twice(rows, ["key"])
    if twice:
        yield Problem(
            where,
            f"{len(twice)} keys stand more than once ({twice[0]['key'][:12]}…)",
            "tofu-eval runs clean",
        )
        doubled = pa.array([row["key"] for row in twice], pa.string())
        rows = rows.filter(pc.invert(pc.is_in(rows.column("key"), doubled)))
    same = _find_twice(rows, ["prompt_id", "sample"])
    if same:
        yield Problem(
            where,
            f"{len(same)} samples have two responses (prompt '{same[0]['prompt_id']}', sample "
            f"{same[0]['sample']})",
            "use a new --output",
        )


def _find_twice(rows: pa.Table, names: list[str]) -> list[dict[str, Any]]:
    """What stands in these columns of several rows, the first first."""
    counted = rows.group_by(names, use_threads=False).aggregate([([], "count_all")])
    found: list[dict[str, Any]] = counted.filter(
        pc.greater(counted.column("count_all"), 1)
    ).to_pylist()
    return found


def _drop_doubles(folder: Path, root: Path) -> list[str]:
    """Write parts without the rows that an earlier part has already; the row first kept stays."""
    seen: set[str] = set()
    done = []
    for part in parts_of(folder):
        table = read_parquet(part, RESPONSE_SCHEMA)
        keep = []
        for i, key in enumerate(table.column("key").to_pylist()):
            if key not in seen:
                keep.append(i)
            seen.add(key)
        if len(keep) < table.num_rows:
            if keep:
                write_part(folder, table.take(keep))
            remove_file(part)
            done.append(
                f"dropped {table.num_rows - len(keep)} doubled rows of {part.relative_to(root)}"
            )
    return done


# The rest


def _read_prompts(run: Run, task: str) -> tuple[set[str] | None, Problem | None]:
    """The ids of a task's prompts, None where they cannot be read, and what is wrong with them."""
    where = f"prompts/{task}.parquet"
    try:
        prompts = run.prompts(task)
    except StoreError as error:
        if not is_damage(error):
            raise
        return None, Problem(where, f"it is damaged or missing: {error.__cause__}", AGAIN)
    except (ConfigError, DataError) as error:  # a readable file of what no prompt can be
        return None, Problem(where, f"it is damaged: {error}", f"remove it and {AGAIN}")
    ids = {prompt.id for prompt in prompts}
    if digest([prompt.describe() for prompt in prompts]) == run.manifest["tasks"][task]["digest"]:
        return ids, None
    what = "its prompts are not those of run.json"
    return ids, Problem(where, what, f"remove it and {AGAIN}")


def _others(run: Run) -> Iterator[Problem]:
    """Scores, estimates, features and the leaderboard: whether they can be read."""
    for file in run.tables():
        where = _short_path(file, run)
        if where.startswith(("responses/", "prompts/")):
            continue
        try:
            check_table(file)
        except StoreError as error:
            if not is_damage(error):
                raise
            why = str(error.__cause__ or error).partition("\n")[0]
            yield Problem(where, f"it is damaged: {why}", AGAIN)
    for model, task, _ in run.manifest.get("scored", ()):
        try:
            whole = run.has_scores(model, task)
        except StoreError:
            continue  # named above
        if not whole:
            yield Problem(f"scores/{model}/{task}", "its scores are not all there, or twice", AGAIN)
    board = run.path / "leaderboard.json"
    if board.exists():
        try:
            json.loads(board.read_text("utf-8"))
        except (OSError, ValueError) as error:
            yield Problem("leaderboard.json", f"it is damaged: {error}", AGAIN)
    for folder in sorted((run.path / "responses").glob("*/*")):
        model, task = folder.parent.name, folder.name
        if model not in run.manifest["models"] or task not in run.manifest["tasks"]:
            yield Problem(
                _short_path(folder, run), "run.json does not know it", "remove that folder"
            )


def _short_path(path: Path, run: Run) -> str:
    return path.relative_to(run.path).as_posix()
