"""Tasks that are Python functions."""

from __future__ import annotations

import inspect
import runpy
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from tofu_eval.core.errors import TofuEvalError
from tofu_eval.core.registry import origin_of
from tofu_eval.core.types import Prompt, PromptFormat, Sampling, Scoring, Task
from tofu_eval.tasks.base import TASKS, make_task
from tofu_eval.tasks.problems import (
    Placed,
    Problem,
    TaskError,
    check_prompts,
    find_unclustered,
    one_line,
    show_value,
)
from tofu_eval.tasks.schema import check_metrics, validate
from tofu_eval.tasks.yaml_document import Document

Function = TypeVar("Function", bound=Callable[[], Iterable[str | Prompt]])

DEFAULT_SAMPLING = Sampling()

_reading: ContextVar[tuple[str, list[Task]] | None] = ContextVar("reading", default=None)
"""The file that `run_task_file` is running, and its tasks so far."""


def task(
    *,
    name: str,
    version: int,
    description: str = "",
    format: PromptFormat = "base",
    sampling: Sampling = DEFAULT_SAMPLING,
    metrics: tuple[str, ...] = (),
    licence: str = "",
    source: str = "",
    citation: str = "",
    verifier: str = "",
    cluster: str = "",
    scoring: Scoring = "generate",
    examples: Sequence[tuple[str, str]] = (),
    wording: Mapping[str, str] | None = None,
) -> Callable[[Function], Function]:
    """Register a function that returns or yields prompts, and return it unchanged.

    The function takes no arguments and gives the same prompts each time; a string is a prompt
    with its number (from 1) as id. It is called when a run loads the task, not before.

    Raises:
        ConfigError: at registration, for an argument that a task file could not have either.
        DuplicateNameError: another place registered the same name.
    """
    header = {
        "name": name,
        "version": version,
        "description": description,
        "format": format,
        "sampling": {**asdict(sampling), "stop": list(sampling.stop)},
        "metrics": list(metrics) if isinstance(metrics, tuple) else metrics,
        "licence": licence,
        "source": source,
        "citation": citation,
        "verifier": verifier,
        "cluster": cluster,
        "scoring": scoring,
        "examples": [{"prompt": prompt, "answer": answer} for prompt, answer in examples],
        "wording": dict(wording or {}),
        "prompts": "a function",  # a task file's checks want a source
    }

    def register(function: Function) -> Function:
        file, _, line = origin_of(function).rpartition(":")
        document = Document(file, header, {(): int(line)})
        spec = validate(document)
        check_metrics(document, None)
        if parameters := list(inspect.signature(function).parameters):
            document.report((), f"a task is called without arguments, this takes {parameters}")
        if spec is None or document.problems:
            raise TaskError(document.problems, file)
        task = make_task(spec, partial(_prompts, function, document), document)
        reading = _reading.get()
        if reading is not None and reading[0] == file:
            reading[1].append(task)
        else:
            TASKS.add(name, task, task.origin)
        return function

    return register


def run_task_file(path: Path) -> Task:
    """Run a Python file and return its one task, which is not registered.

    Raises:
        ConfigError: with file and line, the file fails or has no task, or several.
    """
    file = str(path)
    tasks: list[Task] = []
    token = _reading.set((file, tasks))
    try:
        runpy.run_path(file, run_name=path.stem)
    except TofuEvalError:
        raise
    except SyntaxError as error:
        line = error.lineno or 1
        raise TaskError([Problem(file, line, one_line(error))], file) from error
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise TaskError([Problem(file, _line(error, file, 1), one_line(error))], file) from error
    finally:
        _reading.reset(token)
    if len(tasks) != 1:
        names = f": {', '.join(task.name for task in tasks)}" if tasks else ""
        what = f"a task file has exactly one @task, this has {len(tasks)}{names}"
        raise TaskError([Problem(file, 1, what)], file)
    return tasks[0]


def _prompts(function: Callable[[], Iterable[object]], document: Document) -> list[Prompt]:
    """Call the function and check what it gives."""
    file, line = document.file, document.line(())
    placed, problems = [], []
    try:
        given = function()
        for number, item in enumerate([given] if isinstance(given, str) else given, start=1):
            if isinstance(item, str) and item is not given:
                item = Prompt.of_text(str(number), item)
            if isinstance(item, Prompt):
                placed.append(Placed(item, line, f"prompt {number}"))
            else:
                what = f"prompt {number} must be text or a Prompt, got {show_value(item)}"
                problems.append(Problem(file, line, what))
    except TofuEvalError:
        raise
    except Exception as error:  # the user's code may fail in any way
        raise TaskError([Problem(file, _line(error, file, line), one_line(error))], file) from error
    if not placed and not problems:
        problems.append(Problem(file, line, "the task has no prompts"))
    problems += check_prompts(placed, file)
    field = document.value["cluster"]
    if lack := find_unclustered([prompt for prompt, _, _ in placed], field):
        problems.append(Problem(file, line, f"cluster: {lack}"))
    if problems:
        raise TaskError(problems, file)
    return [prompt for prompt, _, _ in placed]


def _line(error: BaseException, file: str, otherwise: int) -> int:
    """The last line of `file` that the exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return (lines[-1] if lines else None) or otherwise
