"""Prompts from files of rows, JSONL or Parquet: beside a task, behind a URL, in a data folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tofu_eval.core.bounded import check_regular, check_rows
from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.types import Prompt
from tofu_eval.tasks.problems import Placed, Problem, TaskError, check_prompts, one_line
from tofu_eval.tasks.rows import RowError, attach_answers, parse, prompt_of
from tofu_eval.tasks.source_schema import ROWS, FileSource, HubSource
from tofu_eval.tasks.yaml_document import read_text

JSONL, PARQUET = ROWS

BATCH = 16
LARGEST = 2 << 30
"""Rows of a table that are unpacked at once, and the bytes that all may have."""


class Prompts(list[Prompt]):
    """The prompts of a task; `data` says where they were read: a commit, a file, a digest."""

    data: Mapping[str, str]

    def __init__(self, prompts: Sequence[Prompt], data: Mapping[str, str]) -> None:
        super().__init__(prompts)
        self.data = data


def absent(path: Path) -> str | None:
    """Why there is no file to read at `path`; None where there is one."""
    try:
        return None if path.is_file() else "there is no such file"
    except OSError as error:  # a path too long for the system, a folder that may not be read
        return f"cannot be read: {error.strerror or error}"


@dataclass(frozen=True)
class FilePrompts:
    """What loads a task whose prompts are rows of a file.

    `line` is that of `file` in `task_file`. A file behind a URL may stand in `data_dir` instead,
    as `TASK.jsonl` or `TASK.parquet`.
    """

    source: FileSource
    task: str
    task_file: Path
    line: int
    data_dir: Path | None = None

    def __call__(self) -> Prompts:
        """Read the prompts.

        Raises:
            ConfigError: with file and line, the file is not there or not of prompts.
            MissingDependencyError: what downloads is not installed.
        """
        if self.source.url is None:
            path = self.task_file.parent / str(self.source.path)
            if why := absent(path):
                raise self.problem(f"file: {path}: {why}")
            return read_rows(path, self.source)
        if self.data_dir is not None:
            if (own := own_file(self.data_dir, self.task)) is None:
                raise missing_data_error(self.task, self.data_dir, (), self.fetch)
            return read_rows(own, self.source)
        return read_rows(self._download(self.source.url), self.source)

    @property
    def pin(self) -> dict[str, str]:
        """What the task file says of its data; empty where that stands beside it."""
        if self.source.url is None:
            return {}
        return {"url": self.source.url, "sha256": str(self.source.sha256)}

    @property
    def fetch(self) -> str:
        """The command that puts the data where `data_dir` wants it."""
        url = str(self.source.url)
        return f"curl -L {url} -o {self.data_dir or 'DIR'}/{self.task}{Path(url).suffix}"

    def problem(self, text: str) -> TaskError:
        """An error at the line that names the data."""
        return TaskError([Problem(str(self.task_file), self.line, text)], str(self.task_file))

    def _download(self, url: str) -> Path:
        """The file behind the URL, from the cache of `datasets` where it is there."""
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError.of(
                f"The data of '{self.task}'", "datasets", "hf"
            ) from error
        try:
            path = Path(datasets.DownloadManager().download(url))
        except Exception as error:  # the network may fail in any way
            what = f"{url} cannot be had: {one_line(error)}."
            raise self.problem(f"{what} Fetch it, and name --data-dir DIR: {self.fetch}") from error
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.source.sha256:
            what = f"{url} has another content than this task is made for: sha256 {found}, "
            raise self.problem(f"{what}expected {self.source.sha256}. Fetch it again.")
        return path


def own_file(data_dir: Path, task: str) -> Path | None:
    """`TASK.jsonl` or `TASK.parquet` in a data folder."""
    found = [data_dir / f"{task}{suffix}" for suffix in ROWS]
    return next((path for path in found if absent(path) is None), None)


def missing_data_error(
    task: str, data_dir: Path, folders: Sequence[str], fetch: str
) -> ConfigError:
    """The error where a data folder lacks a task's data."""
    if not data_dir.is_dir():
        return ConfigError(f"--data-dir {data_dir}: there is no such folder. Fetch data: {fetch}")
    looked = ", ".join([f"{task}{JSONL}", f"{task}{PARQUET}", *(f"{name}/" for name in folders)])
    return ConfigError(
        f"No data for task '{task}' in {data_dir}: looked for {looked}. Fetch it: {fetch}"
    )


def read_rows(path: Path, source: FileSource | HubSource) -> Prompts:
    """The prompts of a file of rows.

    Args:
        path: `.parquet`, or JSONL whatever it is called; blank lines are skipped.
        source: which of its rows count, and which field holds what.

    Raises:
        ConfigError: with file and line (of Parquet, row), for anything that is not a prompt.
    """
    rows = list(_parquet(path) if path.suffix == PARQUET else _jsonl(path))[: source.rows]
    placed, problems = list[Placed](), list[Problem]()
    known, asked = list[Mapping[str, Any]](), list[Mapping[str, Any]]()
    for number, (line, row) in enumerate(rows, start=1):
        words = f"row {number}" if path.suffix == PARQUET else f"line {line}"
        try:
            fields = parse(row) if isinstance(row, str) else row
            known.append(fields)
            prompt = prompt_of(fields, str(number), source.fields)
        except RowError as error:
            said = f"{words}: " if path.suffix == PARQUET else ""
            problems.append(Problem(str(path), line, f"{said}{error}"))
            continue
        if prompt is not None:
            placed.append(Placed(prompt, line, words))
            asked.append(fields)
    if (answers := source.fields.human_rows) is not None and not problems:
        try:
            placed = attach_answers(placed, asked, known, answers)
        except RowError as error:
            problems.append(Problem(str(path), 1, str(error)))
    if not placed and not problems:
        problems.append(Problem(str(path), 1, "the file has no prompts"))
    found = check_all(placed, problems, str(path))
    return Prompts(found, {"file": path.name, "sha256": _digest(path)})


def check_all(placed: list[Placed], problems: list[Problem], file: str) -> list[Prompt]:
    """The prompts; TaskError with all that is wrong with them."""
    problems = [*problems, *check_prompts(placed, file)]
    if problems:
        raise TaskError(problems, file)
    return [prompt for prompt, _, _ in placed]


def _jsonl(path: Path) -> Iterator[tuple[int, str | Mapping[str, Any]]]:
    # Not splitlines: U+2028 and its like may stand inside a JSON string.
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            yield line, text


def _parquet(path: Path) -> Iterator[tuple[int, str | Mapping[str, Any]]]:
    try:
        check_regular(path)
        with pq.ParquetFile(path) as file:
            check_rows(file.metadata.num_rows, path.stat().st_size)
            taken = 0
            for batch in file.iter_batches(BATCH):
                taken += batch.nbytes
                if taken > LARGEST:
                    raise ValueError(f"its rows have more than {LARGEST >> 30} GiB")
                for row in batch.to_pylist():
                    yield 1, row
    except (OSError, pa.ArrowException, ValueError, OverflowError, NotImplementedError) as error:
        raise TaskError(
            [Problem(str(path), 1, f"not Parquet: {one_line(error)}")], str(path)
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
