"""The registry of tasks, and how a task file becomes a task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from tofu_eval.core.registry import Registry
from tofu_eval.core.types import Example, Prompt, Sampling, Task
from tofu_eval.tasks.datasets import HubPrompts
from tofu_eval.tasks.problems import TaskError, check_prompts, find_unclustered
from tofu_eval.tasks.schema import TaskSpec, check_metrics, inline_prompts, validate
from tofu_eval.tasks.sources import FilePrompts
from tofu_eval.tasks.yaml_document import Document, read_yaml

YAML = (".yaml", ".yml")

Load = Callable[[], Sequence[Prompt]]


def _scan() -> None:
    """Register each file of `builtin/`."""
    for entry in files("tofu_eval.tasks").joinpath("builtin").iterdir():
        if entry.name.endswith(YAML):
            with as_file(entry) as path:
                task = read_task(path)
            TASKS.add(task.name, task, task.origin)


TASKS: Registry[Task] = Registry(
    "task", "tofu_eval.tasks", group="tofu_eval.tasks", listing="tofu-eval tasks list", scan=_scan
)


def read_task(path: Path) -> Task:
    """The task of a YAML file; prompts in other places are read by its `load`.

    Raises:
        ConfigError: with file and line, for whatever is wrong.
    """
    document, spec, prompts = read_spec(path)
    if spec.file is not None:
        load: Load = FilePrompts(spec.file, spec.name, path, document.line(("file",)))
    elif spec.dataset is not None:
        load = HubPrompts(spec.dataset, spec.name, path, document.line(("dataset",)))
    else:
        load = partial(tuple, prompts)
    return make_task(spec, load, document)


def read_spec(
    path: Path, known_metrics: Collection[str] | None = None
) -> tuple[Document, TaskSpec, list[Prompt]]:
    """A checked task file: with its lines, as it says, and the prompts that stand in it.

    Raises:
        ConfigError: with file and line, for whatever is wrong.
    """
    document = read_yaml(path)
    spec, placed = validate(document), []
    if isinstance(document.value, dict):
        check_metrics(document, known_metrics)
        if document.value.get("prompts") is not None:
            placed = inline_prompts(document)
            document.problems += check_prompts(placed, document.file)
            inline = [prompt for prompt, _, _ in placed]
            if spec is not None and (lack := find_unclustered(inline, spec.cluster)):
                document.report(("cluster",), f"cluster: {lack}")
    if spec is None or document.problems:
        raise TaskError(document.problems, document.file)
    return document, spec, [prompt for prompt, _, _ in placed]


def make_task(spec: TaskSpec, load: Load, document: Document) -> Task:
    """The noun of a checked task."""
    return Task(
        name=spec.name,
        version=spec.version,
        load=load,
        description=spec.description.strip(),
        format=spec.format,
        sampling=Sampling(**spec.sampling.model_dump()),
        metrics=tuple(spec.metrics),
        licence=spec.licence,
        source=spec.source,
        citation=spec.citation,
        verifier=spec.verifier,
        cluster=spec.cluster,
        scoring=spec.scoring,
        data=getattr(load, "pin", {}),
        examples=tuple(Example(shown.prompt, shown.answer) for shown in spec.examples),
        wording=spec.wording.by_form(),
        origin=f"{document.file}:{document.line(('name',))}",
    )
