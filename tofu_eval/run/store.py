"""A run directory: what was asked for, what is done, and nothing half-written.

    run.json                                what was asked for, what made it, how long it took
    prompts/TASK.parquet
    responses/MODEL/TASK/part-000000-SUM.parquet
    features/NAME/ID/part-000000-SUM.parquet    one row per distinct text, ID = which model made it
    scores/MODEL/TASK/part-000000-SUM.parquet   the scores of a run of prompts
    estimates.parquet
    leaderboard.json

Every file is written under a temporary name, flushed to the disk and renamed; none is ever
appended to. So whatever exists is whole, and what is left to do is what does not exist. SUM is the
start of the SHA-256 of a part's content, so that damage which happens later is found.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tofu_eval.core.bounded import read_json
from tofu_eval.core.errors import StoreError
from tofu_eval.core.tables import (
    EQUAL_SCHEMA,
    ESTIMATE_SCHEMA,
    PROMPT_SCHEMA,
    RESPONSE_SCHEMA,
    SCORE_SCHEMA,
    to_table,
)
from tofu_eval.core.types import EqualScore, Estimate, Message, Prompt, Response, Score
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.files import (
    PART,
    ROW_GROUP,
    TEMPORARY,
    check_named,
    check_table,
    clear_leftovers,
    hold_lock,
    is_damage,
    is_ours,
    open_parquet,
    part_number,
    parts_of,
    places_of,
    read_parquet,
    read_row_group,
    readable,
    remove_file,
    row_groups,
    set_aside,
    write_json,
    write_parquet,
    write_part,
)
from tofu_eval.run.manifest import FORMAT, problem


class Run:
    """A run directory. Open it with `Run.open` to read, with `Run.writing` to write."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._writing_scores: dict[tuple[str, str], str] = {}

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """An existing run, for reading.

        Raises:
            StoreError: there is no run, or its run.json is not one.
        """
        path = Path(path)
        try:
            manifest = read_json(path / "run.json")
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
        version = manifest.get("format") if isinstance(manifest, dict) else None
        if version != FORMAT:
            raise StoreError(
                f"{path / 'run.json'} has format {version!r}, this tofu-eval reads {FORMAT}. "
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
        with hold_lock(path):
            if (path / "run.json").exists():
                run = cls.open(path)
            elif any(not is_ours(child.name) for child in path.iterdir()):
                raise StoreError(
                    f"{path} is not empty and not a run. Use a new or empty directory as --output."
                )
            else:
                run = cls(path, {"format": FORMAT, "status": "new", "models": {}, "tasks": {}})
            clear_leftovers(path.rglob(f"{TEMPORARY}*"))
            yield run

    def tables(self) -> list[Path]:
        """Every table of the run that is on the disk; what else lies there is not ours."""
        patterns = ("prompts/*.parquet", "estimates.parquet")
        parts = tuple(f"{name}/*/*/part-*.parquet" for name in ("responses", "features", "scores"))
        found = [path for pattern in patterns for path in self.path.glob(pattern)]
        found += [p for pattern in parts for p in self.path.glob(pattern) if PART.match(p.name)]
        return sorted(path for path in found if not path.name.startswith("."))

    def mend(self) -> list[str]:
        """Set damaged tables aside, so that what they held is made again; a remark for each."""
        remarks = []
        for file in self.tables():
            try:
                check_table(file)
            except StoreError as error:
                if not is_damage(error):
                    raise
                set_aside(file)
                where = file.relative_to(self.path)
                remarks.append(f"{where} was damaged and set aside; what it held is made again")
        return remarks

    def save(self, **changes: Any) -> None:
        """Merge `changes` into run.json."""
        self.manifest = {**self.manifest, **changes}
        write_json(self.path / "run.json", self.manifest)

    @contextmanager
    def measure_time(self, stage: str) -> Iterator[None]:
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
            {**prompt.describe(), "metadata": list(prompt.metadata.items())} for prompt in prompts
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

    def add_response_table(self, model: str, task: str, table: pa.Table) -> None:
        """Save one batch of responses, a table of RESPONSE_SCHEMA, as a part file of its own."""
        write_part(self.path / "responses" / model / task, table)

    def has_responses(self, *, model: str = "*", task: str = "*") -> bool:
        """Whether there are responses: of that model, to that task, or any."""
        parts = (self.path / "responses").glob(f"{model}/{task}/part-*.parquet")
        return next(parts, None) is not None

    def response_parts(self, model: str, task: str) -> list[Path]:
        """The files that hold the responses of one model to one task."""
        return parts_of(self.path / "responses" / model / task)

    def response_keys(self, model: str, task: str) -> set[str]:
        """The keys of the responses on the disk."""
        return set(self._keys(model, task).to_pylist())

    def count_keys(self, model: str, task: str) -> int:
        """How many different keys the responses on the disk have."""
        return len(self._keys(model, task))

    def key_digest(self, model: str, task: str) -> str:
        """SHA-256 of the keys of the responses on the disk, in whichever part each lies."""
        ordered = self._keys(model, task).sort()
        digest = hashlib.sha256()
        for start in range(0, len(ordered), ROW_GROUP):  # there may be millions
            for key in ordered.slice(start, ROW_GROUP).to_pylist():
                digest.update(f"{key}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _keys(self, model: str, task: str) -> pa.Array:
        groups = [
            read_row_group(part, number, ["key"])
            for part in self.response_parts(model, task)
            for number in range(row_groups(part))
        ]
        table = pa.concat_tables([RESPONSE_SCHEMA.empty_table().select(["key"]), *groups])
        return table.column("key").unique()

    def drop_responses(self, model: str, task: str, column: str, beginning: str) -> None:
        """Remove the parts of which every row begins so in this column."""
        for part in self.response_parts(model, task):
            texts = _read_column(part, column)
            if texts and all((text or "").startswith(beginning) for text in texts):
                remove_file(part)

    def count_responses(self, model: str, task: str, column: str, value: str) -> int:
        """How many responses have this value in a column."""
        parts = self.response_parts(model, task)
        return sum(_read_column(part, column).count(value) for part in parts)

    def response_ends(self, model: str, task: str) -> Iterator[dict[str, Any]]:
        """How each response ended: its key, prompt_id, state and finish_reason."""
        columns = ["key", "prompt_id", "state", "finish_reason"]
        for part in self.response_parts(model, task):
            for number in range(row_groups(part)):
                yield from read_row_group(part, number, columns).to_pylist()

    def count_beginning(self, model: str, task: str, column: str, beginning: str) -> int:
        """How many responses have a text in a column that begins so."""
        texts = [t for part in self.response_parts(model, task) for t in _read_column(part, column)]
        return sum((text or "").startswith(beginning) for text in texts)

    def responses(self, model: str, task: str) -> pa.Table:
        """All responses of one model to one task, by prompt (in the task's order) and sample."""
        parts = self.response_parts(model, task)
        table = pa.concat_tables(
            [RESPONSE_SCHEMA.empty_table(), *(read_parquet(p, RESPONSE_SCHEMA) for p in parts)]
        )
        order = {prompt.id: i for i, prompt in enumerate(self.prompts(task))}
        where = self.path / "responses" / model / task
        position = places_of(table.column("prompt_id"), order, where)
        rows = np.lexsort((table.column("sample").to_numpy(), np.asarray(position, dtype=np.int64)))
        return table.take(pa.array(rows))

    # Features

    def features(self, name: str, identity: str) -> FeatureCache:
        """The rows of a feature that one model made; `identity` is that model's digest."""
        return FeatureCache(self.path / "features" / name / identity[:16])

    # Scores and estimates

    def score_parts(self, model: str, task: str, mark: str) -> set[int]:
        """The parts of one model's scores on one task that were made under `mark`.

        The mark is a digest of all that scores depend on. Parts under another are removed by the
        first that is written.
        """
        numbers: set[int] = set()
        wanted = 0
        for part in parts_of(self._scores_folder(model, task)):
            with readable(part):
                metadata = open_parquet(part).schema_arrow.metadata or {}
                parts = int(metadata.get(b"parts", 0))
            if metadata.get(b"mark") == mark.encode():
                if part_number(part) in numbers:
                    remove_file(part)
                numbers.add(part_number(part))
                wanted = parts
        if len(numbers) > wanted:  # which of them are ours, nobody can say
            self.drop_scores(model, task)
            return set()
        return numbers

    def write_score_part(
        self, model: str, task: str, number: int, rows: Iterable[Score], *, of: int, mark: str
    ) -> None:
        """Save the scores of some prompts as part `number`; there will be `of` parts."""
        self._drop_other_scores(model, task, mark)
        told = {"mark": mark, "parts": str(of)}
        table = to_table(rows, SCORE_SCHEMA).replace_schema_metadata(told)
        write_part(self._scores_folder(model, task), table, number)

    def _drop_other_scores(self, model: str, task: str, mark: str) -> None:
        if self._writing_scores.get((model, task)) == mark:
            return
        for part in parts_of(self._scores_folder(model, task)):
            with readable(part):
                told = open_parquet(part).schema_arrow.metadata or {}
            if told.get(b"mark") != mark.encode():
                remove_file(part)
        self._writing_scores[model, task] = mark

    def has_scores(self, model: str, task: str) -> bool:
        """Whether all scores of one model on one task are there."""
        parts = parts_of(self._scores_folder(model, task))
        if not parts:
            return False
        with readable(parts[0]):
            told = open_parquet(parts[0]).schema_arrow.metadata or {}
        numbers = {part_number(part) for part in parts}
        return len(numbers) == len(parts) == int(told.get(b"parts", 0))

    def drop_scores(self, model: str, task: str) -> None:
        """Remove the scores of one model on one task, if there are any."""
        for part in parts_of(self._scores_folder(model, task)):
            remove_file(part)

    def scores_of(self, model: str, task: str) -> pa.Table:
        """The scores of one model on one task, by prompt in the task's order."""
        parts = parts_of(self._scores_folder(model, task))
        tables = [read_parquet(part, SCORE_SCHEMA) for part in parts]
        for part, table in zip(parts, tables, strict=True):
            check_named(part, table, {model}, {task})
        return pa.concat_tables([SCORE_SCHEMA.empty_table(), *tables])

    def scores(self) -> pa.Table:
        """The scores of every model on every task, in the manifest's order."""
        tables = [
            self.scores_of(model, task)
            for model in self.manifest["models"]
            for task in self.manifest["tasks"]
            if self.has_scores(model, task)
        ]
        if not tables:
            raise StoreError(
                f"{self.path} has no scores yet. Finish it: run the command that made it again."
            )
        return pa.concat_tables(tables)

    def _scores_folder(self, model: str, task: str) -> Path:
        return self.path / "scores" / model / task

    def write_equal_scores(
        self, model: str, task: str, rows: Iterable[EqualScore], *, mark: str
    ) -> None:
        """Replace the scores of one model on one task at smaller numbers of responses."""
        table = to_table(rows, EQUAL_SCHEMA).replace_schema_metadata({"mark": mark})
        write_parquet(self._equal_path(model, task), table)

    def equal_scores_mark(self, model: str, task: str) -> str | None:
        """Under which mark those were made; None where there are none."""
        path = self._equal_path(model, task)
        if not path.exists():
            return None
        with readable(path):
            told = open_parquet(path).schema_arrow.metadata or {}
        return str(told.get(b"mark", b"").decode())

    def equal_scores(self) -> pa.Table:
        """The scores at smaller numbers of responses of every model that has scores."""
        tables = [EQUAL_SCHEMA.empty_table()]
        for model in self.manifest["models"]:
            for task in self.manifest["tasks"]:
                path = self._equal_path(model, task)
                if path.exists() and self.has_scores(model, task):
                    tables.append(read_parquet(path, EQUAL_SCHEMA))
                    check_named(path, tables[-1], {model}, {task})
        return pa.concat_tables(tables)

    def _equal_path(self, model: str, task: str) -> Path:
        return self.path / "equal_scores" / model / f"{task}.parquet"

    def write_estimates(self, rows: Iterable[Estimate]) -> None:
        """Replace the estimates."""
        write_parquet(self.path / "estimates.parquet", to_table(rows, ESTIMATE_SCHEMA))

    def estimates(self) -> list[Estimate]:
        """Mean and interval of every model, task and metric; empty before the first scoring."""
        path = self.path / "estimates.parquet"
        if not path.exists():
            return []
        return [Estimate(**row) for row in read_parquet(path, ESTIMATE_SCHEMA).to_pylist()]

    def own_estimates(self) -> list[Estimate]:
        """The estimates, of which none may be of a model or task that run.json does not know."""
        rows = self.estimates()
        table = to_table(rows, ESTIMATE_SCHEMA)
        path = self.path / "estimates.parquet"
        check_named(path, table, self.manifest["models"], self.manifest["tasks"])
        return rows


def _read_column(part: Path, column: str) -> list[Any]:
    return [
        value
        for number in range(row_groups(part))
        for value in read_row_group(part, number, [column]).column(column).to_pylist()
    ]


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
                f"Cannot resume {path}: its {what} has {field}={_shorten(old)}, you asked for "
                f"{_shorten(new)}. Use a new --output, or ask for the same."
            )


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
