"""Finding tasks: by name in the registry, in a YAML file, in a Python file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tofu_eval.errors import ConfigError, TofuEvalError
from tofu_eval.tasks.base import TASKS, YAML, read_spec, read_task
from tofu_eval.tasks.datasets import HubPrompts
from tofu_eval.tasks.document import Document
from tofu_eval.tasks.problems import TaskError
from tofu_eval.tasks.python import run_task_file
from tofu_eval.tasks.schema import check_metrics
from tofu_eval.tasks.sources import FilePrompts, absent
from tofu_eval.types import Task

PYTHON = ".py"


def load_task(ref: str | Path | Task, data_dir: str | Path | None = None) -> Task:
    """Find a task.

    Args:
        ref: a registered name, the path of a `.yaml` or `.yml` file, the path of a `.py` file
            with exactly one `@task` (the file is run), or a task, which is returned as it is.
        data_dir: a folder with data that would otherwise be downloaded: `TASK.jsonl`,
            `TASK.parquet`, or a dataset's files in `OWNER__NAME/`. None downloads.

    Returns: the task. Prompts in a JSONL file or on the Hub are read by its `load`, not here.

    Raises:
        UnknownNameError: no task has that name.
        PluginError: an installed package offers the name and cannot be loaded.
        ConfigError: with file and line, the file is not a task.
    """
    return with_data(_found(ref), data_dir)


def with_data(task: Task, data_dir: str | Path | None) -> Task:
    """The task with its data taken from a folder, where it has any that is downloaded."""
    if data_dir is None or not isinstance(task.load, FilePrompts | HubPrompts):
        return task
    return replace(task, load=replace(task.load, data_dir=Path(data_dir)))


def _found(ref: str | Path | Task) -> Task:
    if isinstance(ref, Task):
        return ref
    if isinstance(ref, str) and "/" not in ref and Path(ref).suffix not in (*YAML, PYTHON):
        return TASKS.get(ref)
    path = _task_file(ref)
    return run_task_file(path) if path.suffix == PYTHON else read_task(path)


def check_task(path: str | Path, known_metrics: Collection[str] | None = None) -> list[str]:
    """All that is wrong with a task file, one line each; empty where it is fine.

    The prompts are checked where they can be had without a network: all but a Hub dataset's.

    Args:
        path: a `.yaml`, `.yml` or `.py` file.
        known_metrics: the names that `metrics` may have; None accepts any.
    """
    try:
        path = _task_file(path)
        if path.suffix == PYTHON:
            _check_python(path, known_metrics)
        else:
            _, spec, _ = read_spec(path, known_metrics)
            if spec.file is not None and spec.file.url is None:
                read_task(path).load()
    except TaskError as error:
        return [str(problem) for problem in error.problems]
    except TofuEvalError as error:
        return [str(error)]
    return []


def _check_python(path: Path, known_metrics: Collection[str] | None) -> None:
    task = run_task_file(path)
    file, _, line = task.origin.rpartition(":")
    document = Document(file, {"metrics": list(task.metrics)}, {(): int(line)})
    check_metrics(document, known_metrics)
    if document.problems:
        raise TaskError(document.problems, file)
    task.load()


def _task_file(ref: str | Path) -> Path:
    path = Path(ref)
    if path.suffix not in (*YAML, PYTHON):
        raise ConfigError(f"{path}: a task file ends in .yaml, .yml or .py, got '{path.suffix}'.")
    if why := absent(path):
        raise ConfigError(f"{path}: {why}. List all: tofu-eval tasks list")
    return path
