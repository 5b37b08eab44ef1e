"""A run directory: what was asked for, what is done, and nothing half-written.

    run.json                                what was asked for, what made it, how long it took
    prompts/TASK.parquet
    responses/MODEL/TASK/part-000000-SUM.parquet
    features/NAME/ID/part-000000-SUM.parquet    one row per distinct text, ID = which model made it
    scores/MODEL/TASK.parquet
    estimates.parquet
    leaderboard.json

Every file is written under a temporary name, flushed to the disk and renamed; none is ever
appended to. So whatever exists is whole, and what is left to do is what does not exist. SUM is the
start of the SHA-256 of a part's content, so that damage which happens later is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tofu_eval.errors import StoreError
from tofu_eval.manifest import FORMAT, problem
from tofu_eval.types import (
    ESTIMATE_SCHEMA,
    PROMPT_SCHEMA,
    RESPONSE_SCHEMA,
    SCORE_SCHEMA,
    Estimate,
    Message,
    Prompt,
    Response,
    Score,
    to_table,
)

TEMPORARY = ".tmp-"
DAMAGED = ".damaged-"
PART = re.compile(r"part-(\d+)(?:-([0-9a-f]{16}))?\.parquet$")


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Make `path` appear whole or not at all: temporary name, fsync, rename, fsync the folder.

    Raises:
        StoreError: the disk is full, read-only or gone; the file that was there is untouched.
    """
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. What is finished is kept: "
            "make room or choose another --output, then run the same command again."
        ) from error


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table atomically, with a checksum on every page."""
    atomic_write(
        path,
        lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True),
    )


def write_part(folder: Path, table: pa.Table) -> None:
    """Write a table atomically as the next part file of a folder, its checksum in its name."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    number = max(map(part_number, parts_of(folder)), default=-1) + 1
    path = folder / f"part-{number:06d}-{_sum(content)}.parquet"
    atomic_write(path, lambda file: file.write(content))


def read_parquet(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table that this module wrote.

    Raises:
        StoreError: the file is damaged, or has other columns than `schema`.
    """
    try:
        content = path.read_bytes()
        name = PART.match(path.name)
        if name and name[2] and name[2] != _sum(content):
            raise OSError("its content does not fit the checksum in its name")
        # One file, no dataset discovery: folder names are never read as data.
        table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
        return table if schema is None else table.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"Cannot read {path}: {reason}. Delete that file and run the same command again: "
            "only what it held is made again."
        ) from error


class Run:
    """A run directory. Open it with `Run.open` to read, with `Run.writing` to write."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """An existing run, for reading.

        Raises:
            StoreError: there is no run, or its run.json is not one.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / "run.json").read_text("utf-8"))
        except FileNotFoundError as error:
            raise StoreError(
                f"{path} is not a run: it has no run.json. "
                f"Make one: tofu-eval run --output {path} … or tofu-eval score … --output {path}"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(
                f"{path / 'run.json'} cannot be read: {type(error).__name__}: {error}. "
                "Restore that file or use a new --output."
            ) from error
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise StoreError(
                f"{path / 'run.json'} has format {found!r}, this tofu-eval reads {FORMAT}. "
                "Use a new --output."
            )
        if what := problem(manifest):
            raise StoreError(
                f"{path / 'run.json'} is damaged: {what}. Restore that file or use a new --output."
            )
        return cls(path, manifest)

    @classmethod
    @contextmanager
    def writing(cls, path: Path | str) -> Iterator[Run]:
        """A new or existing run, locked against other processes until the block ends.

        Raises:
            StoreError: another process is writing it, or the directory cannot be made.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            # The operating system drops the lock when the process dies, however it dies.
            lock = FileLock(path / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(
                f"{path} is being written by another process. "
                "Wait for it to end, or use a new --output."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise StoreError(
                f"Cannot write {path}: {getattr(error, 'strerror', None) or error}. "
                "Choose another --output."
            ) from error
        try:
            if (path / "run.json").exists():
                run = cls.open(path)
            elif any(not _is_ours(child.name) for child in path.iterdir()):
                raise StoreError(
                    f"{path} is not empty and not a run. Use a new or empty directory as --output."
                )
            else:
                run = cls(path, {"format": FORMAT, "status": "new", "models": {}, "tasks": {}})
            for leftover in path.rglob(f"{TEMPORARY}*"):  # of a process that was killed
                if leftover.is_file():
                    leftover.unlink(missing_ok=True)
            yield run
        finally:
            lock.release()

    def tables(self) -> list[Path]:
        """Every table of the run that is on the disk; what else lies there is not ours."""
        patterns = ("prompts/*.parquet", "scores/*/*.parquet", "estimates.parquet")
        parts = ("responses/*/*/part-*.parquet", "features/*/*/part-*.parquet")
        found = [path for pattern in patterns for path in self.path.glob(pattern)]
        found += [p for pattern in parts for p in self.path.glob(pattern) if PART.match(p.name)]
        return sorted(path for path in found if not path.name.startswith("."))

    def mend(self) -> list[str]:
        """Set damaged tables aside, so that what they held is made again; a remark for each."""
        remarks = []
        for file in self.tables():
            try:
                read_parquet(file)
            except StoreError:
                set_aside(file)
                where = file.relative_to(self.path)
                remarks.append(f"{where} was damaged and set aside; what it held is made again")
        return remarks

    def save(self, **changes: Any) -> None:
        """Merge `changes` into run.json."""
        self.manifest = {**self.manifest, **changes}
        write_json(self.path / "run.json", self.manifest)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to run.json's, over all calls, at the next `save`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            timings = dict(self.manifest.get("timings", {}))
            timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
            self.manifest["timings"] = timings

    # Prompts

    def write_prompts(self, task: str, prompts: Sequence[Prompt]) -> None:
        """Save the prompts of a task, in their order."""
        rows = [
            {
                "id": prompt.id,
                "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
                "references": list(prompt.references),
                "metadata": list(prompt.metadata.items()),
            }
            for prompt in prompts
        ]
        table = pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)
        write_parquet(self.path / "prompts" / f"{task}.parquet", table)

    def has_prompts(self, task: str) -> bool:
        """Whether the prompts of a task are on the disk."""
        return (self.path / "prompts" / f"{task}.parquet").exists()

    def prompts(self, task: str) -> list[Prompt]:
        """The prompts of a task, in their order."""
        table = read_parquet(self.path / "prompts" / f"{task}.parquet", PROMPT_SCHEMA)
        return [
            Prompt(
                row["id"],
                tuple(Message(m["role"], m["content"]) for m in row["messages"]),
                tuple(row["references"]),
                dict(row["metadata"]),
            )
            for row in table.to_pylist()
        ]

    # Responses

    def add_responses(self, model: str, task: str, rows: Sequence[Response]) -> None:
        """Save one batch of responses as a part file of its own."""
        folder = self.path / "responses" / model / task
        write_part(folder, to_table(rows, RESPONSE_SCHEMA))

    def has_responses(self, *, model: str = "*", task: str = "*") -> bool:
        """Whether there are responses: of that model, to that task, or any."""
        parts = (self.path / "responses").glob(f"{model}/{task}/part-*.parquet")
        return next(parts, None) is not None

    def response_keys(self, model: str, task: str) -> set[str]:
        """The keys of the responses on the disk."""
        parts = parts_of(self.path / "responses" / model / task)
        return {
            key
            for part in parts
            for key in read_parquet(part, RESPONSE_SCHEMA).column("key").to_pylist()
        }

    def responses(self, model: str, task: str) -> pa.Table:
        """All responses of one model to one task, by prompt (in the task's order) and sample."""
        parts = parts_of(self.path / "responses" / model / task)
        table = pa.concat_tables(
            [RESPONSE_SCHEMA.empty_table(), *(read_parquet(p, RESPONSE_SCHEMA) for p in parts)]
        )
        order = {prompt.id: i for i, prompt in enumerate(self.prompts(task))}
        position = [order[id] for id in table.column("prompt_id").to_pylist()]
        rows = np.lexsort((table.column("sample").to_numpy(), np.asarray(position, dtype=np.int64)))
        return table.take(pa.array(rows))

    # Features

    def features(self, name: str, identity: str) -> FeatureCache:
        """The rows of a feature that one model made; `identity` is that model's digest."""
        return FeatureCache(self.path / "features" / name / identity[:16])

    # Scores and estimates

    def write_scores(self, model: str, task: str, rows: Iterable[Score]) -> None:
        """Replace the scores of one model on one task."""
        write_parquet(self._scores_path(model, task), to_table(rows, SCORE_SCHEMA))

    def has_scores(self, model: str, task: str) -> bool:
        """Whether one model has scores on one task."""
        return self._scores_path(model, task).exists()

    def drop_scores(self, model: str, task: str) -> None:
        """Remove the scores of one model on one task, if there are any."""
        self._scores_path(model, task).unlink(missing_ok=True)

    def scores(self) -> pa.Table:
        """The scores of every model on every task, in the manifest's order."""
        files = [
            path
            for model in self.manifest["models"]
            for task in self.manifest["tasks"]
            if (path := self._scores_path(model, task)).exists()
        ]
        if not files:
            raise StoreError(
                f"{self.path} has no scores yet. Finish it: run the command that made it again."
            )
        return pa.concat_tables([read_parquet(path, SCORE_SCHEMA) for path in files])

    def _scores_path(self, model: str, task: str) -> Path:
        return self.path / "scores" / model / f"{task}.parquet"

    def write_estimates(self, rows: Iterable[Estimate]) -> None:
        """Replace the estimates."""
        write_parquet(self.path / "estimates.parquet", to_table(rows, ESTIMATE_SCHEMA))

    def estimates(self) -> list[Estimate]:
        """Mean and interval of every model, task and metric; empty before the first scoring."""
        path = self.path / "estimates.parquet"
        if not path.exists():
            return []
        return [Estimate(**row) for row in read_parquet(path, ESTIMATE_SCHEMA).to_pylist()]


class FeatureCache:
    """Rows of numbers by key, in part files: what a model has computed is never computed again.

    Without a folder it lives in memory only. `truncated` counts the rows whose text was too long
    for the model.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._rows: dict[str, NDArray[np.float32]] = {}
        self.truncated = 0
        for part in parts_of(folder) if folder else ():
            table = read_parquet(part)
            if {"key", "row"} - set(table.column_names):
                raise StoreError(
                    f"{part} is not a part of a feature: it has no columns 'key' and 'row'. Delete "
                    "that file and run the same command again: only what it held is made again."
                )
            rows = np.stack(table.column("row").to_pylist()).astype(np.float32)
            self._rows.update(zip(table.column("key").to_pylist(), rows, strict=True))
            self.truncated += int((table.schema.metadata or {}).get(b"truncated", 0))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The distinct keys that have no row yet, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._rows]

    def add(self, keys: Sequence[str], rows: NDArray[np.float32], truncated: int = 0) -> None:
        """Keep new rows, (len(keys), width), as a part file of their own."""
        if len(keys) != len(rows):
            raise StoreError(f"{len(keys)} keys and {len(rows)} rows do not fit in a feature part.")
        if self._folder:
            values = pa.array(np.ascontiguousarray(rows, dtype=np.float32).ravel())
            column = pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
            table = pa.table({"key": pa.array(list(keys)), "row": column})
            table = table.replace_schema_metadata({"truncated": str(truncated)})
            write_part(self._folder, table)
        self.truncated += truncated
        self._rows.update(zip(keys, rows, strict=True))

    def rows(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """The rows of `keys`, (len(keys), width); all must be there."""
        return np.stack([self._rows[key] for key in keys])


def _is_ours(name: str) -> bool:
    """Whether a name can stand in a run that was killed before its first file."""
    return name == ".lock" or name.startswith(TEMPORARY)


def set_aside(file: Path) -> None:
    """Rename a damaged file, so that nothing reads it and nothing is lost.

    Raises:
        StoreError: the disk does not let us.
    """
    try:
        file.replace(file.with_name(DAMAGED + file.name))
    except OSError as error:
        raise StoreError(
            f"{file} is damaged and cannot be set aside: {error.strerror or error}. "
            "Remove it, then run the same command again."
        ) from error


def parts_of(folder: Path) -> list[Path]:
    """The part files, by number; whatever else lies there is not ours."""
    parts = (p for p in folder.glob("part-*.parquet") if PART.match(p.name))
    return sorted(parts, key=part_number)


def part_number(part: Path) -> int:
    """The number in a part file's name."""
    return int(part.stem.split("-")[1])


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def conflict(path: Path, what: str, have: Mapping[str, Any], want: Mapping[str, Any]) -> None:
    """Raise if what a run was made with differs from what is asked for now.

    Raises:
        StoreError: names the first field that differs, however deep, with both values.
    """
    for field in dict.fromkeys([*have, *want]):
        old, new = have.get(field), want.get(field)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            conflict(path, what, old, new)
        elif old != new:
            raise StoreError(
                f"Cannot resume {path}: its {what} has {field}={_short(old)}, you asked for "
                f"{_short(new)}. Use a new --output, or ask for the same."
            )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
