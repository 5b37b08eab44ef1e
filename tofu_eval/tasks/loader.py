"""Finding tasks: by name in the registry, in a YAML file, in a Python file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tofu_eval.core.errors import ConfigError, TofuEvalError
from tofu_eval.core.names import check_name
from tofu_eval.core.types import Task
from tofu_eval.tasks.base import TASKS, YAML, Load, read_spec, read_task
from tofu_eval.tasks.datasets import HubPrompts
from tofu_eval.tasks.formats import converse, load_format
from tofu_eval.tasks.problems import TaskError, find_unclustered
from tofu_eval.tasks.python_task import run_task_file
from tofu_eval.tasks.schema import check_metrics
from tofu_eval.tasks.sources import FilePrompts, Prompts, absent, own_file
from tofu_eval.tasks.yaml_document import Document

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
    return with_data(_find(ref), data_dir)


def with_data(task: Task, data_dir: str | Path | None) -> Task:
    """The task with its data taken from a folder, where it has any that is downloaded."""
    if data_dir is None:
        return task
    if isinstance(task.load, Spread):
        inner = with_data(replace(task, load=task.load.load), data_dir).load
        return replace(task, load=Spread(inner, task.load.limit))
    if isinstance(task.load, FilePrompts | HubPrompts):
        return replace(task, load=replace(task.load, data_dir=Path(data_dir)))
    return task


def part_of(task: Task, limit: int) -> Task:
    """The task with only so many of its prompts, evenly spread: some data is sorted by subject."""
    return replace(task, load=Spread(task.load, limit))


@dataclass(frozen=True)
class Spread:
    """What loads `limit` prompts of a task, at equal distances from the first on."""

    load: Load
    limit: int

    def __call__(self) -> Prompts:
        """Read the prompts; raises what the task's own `load` raises."""
        loaded = self.load()
        step = max(1.0, len(loaded) / self.limit)
        kept = [loaded[int(i * step)] for i in range(min(self.limit, len(loaded)))]
        return Prompts(kept, getattr(loaded, "data", {}))


def check_registered(
    data_dir: Path | None, known_metrics: Collection[str]
) -> tuple[list[str], list[str]]:
    """Check every registered task; nothing is downloaded.

    Args:
        data_dir: where the data of the others may be; what is there is read.
        known_metrics: the names that `metrics` may have.

    Returns: what is wrong, and remarks: whose prompts were not read, whose data is not pinned.
    """
    problems, unread, unpinned = [], [], []
    for entry in TASKS.entries():
        if entry.item is None:
            problems.append(str(entry.error))
            continue
        task = with_data(entry.item, data_dir)
        document = Document(entry.origin.rpartition(":")[0], {"metrics": list(task.metrics)})
        check_metrics(document, known_metrics)
        problems += map(str, document.problems)
        if isinstance(task.load, HubPrompts) and not task.load.pinned:
            unpinned.append(task.name)
        try:
            if is_at_hand(task):
                task.load()
            else:
                unread.append(task.name)
        except TaskError as error:
            problems += map(str, error.problems)
        except TofuEvalError as error:
            problems.append(str(error))
    remarks = []
    if unread:
        where = f"not in {data_dir}" if data_dir else "they would be downloaded: name --data-dir"
        remarks.append(f"prompts not read, {where}: {', '.join(unread)}")
    if unpinned:
        remarks.append(
            "no known commit to pin, a run records the one that it reads: " + ", ".join(unpinned)
        )
    return problems, remarks


def is_at_hand(task: Task) -> bool:
    """Whether the prompts can be read without a download."""
    load = task.load.load if isinstance(task.load, Spread) else task.load
    if not isinstance(load, FilePrompts | HubPrompts) or not load.pin:
        return True
    folders = load.source.folders if isinstance(load, HubPrompts) else ()
    if load.data_dir is None:
        return False
    there = any((load.data_dir / folder).is_dir() for folder in folders)
    return there or own_file(load.data_dir, load.task) is not None


def _find(ref: str | Path | Task) -> Task:
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
            read_spec(path, known_metrics)
            task = read_task(path)
            check_name("task", task.name)
            if is_at_hand(task) and not isinstance(task.load, HubPrompts):
                prompts = task.load()
                if lack := find_unclustered(prompts, task.cluster):
                    return [f"{task.origin}: cluster: {lack}"]
                for name in ("base", "sft"):  # each may have a wording of its own
                    for prompt in prompts:
                        converse(prompt, load_format(name), task=task)
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
