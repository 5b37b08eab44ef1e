"""Suites: named lists of tasks with the sampling that each is asked with, one YAML file each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic import model_validator as validator

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.registry import Registry
from tofu_eval.core.types import PromptFormat, Task
from tofu_eval.tasks.base import YAML
from tofu_eval.tasks.loader import load_task, part_of
from tofu_eval.tasks.problems import TaskError, show_value
from tofu_eval.tasks.schema import MODELS, Name, SamplingSpec, read_part
from tofu_eval.tasks.source_schema import Strict, or_text
from tofu_eval.tasks.yaml_document import read_yaml


class Member(Strict):
    """One task of a suite; a plain name is the short form of `task`.

    What `sampling` leaves out is the task's own; `limit` takes only so many prompts, evenly spread.
    """

    task: str = Field(min_length=1)
    sampling: SamplingSpec = SamplingSpec()
    format: PromptFormat | None = None
    limit: int | None = Field(default=None, ge=1)

    @validator(mode="before")
    @classmethod
    def _accept_short(cls, value: Any) -> Any:
        return or_text(value, "task")

    def load(self) -> Task:
        """The task as the suite asks it.

        Raises:
            TofuEvalError: there is no such task, or a sampling that cannot be.
        """
        task = load_task(self.task)
        sampling = replace(task.sampling, **self.sampling.model_dump(exclude_unset=True))
        task = replace(task, sampling=sampling, format=self.format or task.format)
        return task if self.limit is None else part_of(task, self.limit)


class SuiteSpec(Strict):
    """A whole suite file."""

    name: Name
    version: int = Field(ge=1)
    description: str = ""
    tasks: list[Member] = Field(min_length=1)


MODELS["tasks"] = Member


@dataclass(frozen=True)
class Suite:
    """Tasks that are run together; `origin` says which file defines it."""

    name: str
    version: int
    description: str
    members: tuple[Member, ...]
    origin: str

    def load(self) -> list[Task]:
        """The tasks, in the order of the file.

        Raises:
            TofuEvalError: there is no such task, or a sampling that cannot be.
        """
        tasks = []
        for member in self.members:
            try:
                tasks.append(member.load())
            except ConfigError as error:
                raise ConfigError(f"{self.origin}: task '{member.task}': {error}") from error
        return tasks


def _scan() -> None:
    for entry in files("tofu_eval.tasks").joinpath("suites").iterdir():
        if entry.name.endswith(YAML):
            with as_file(entry) as path:
                add_suite(path)


SUITES: Registry[Suite] = Registry(
    "suite",
    "tofu_eval.tasks",
    group="tofu_eval.suites",
    listing="tofu-eval tasks suites",
    scan=_scan,
)


def add_suite(path: str | Path) -> Suite:
    """Register the suite of a YAML file; what a plug-in's module calls.

    Raises:
        ConfigError: with file and line, for whatever is wrong.
        DuplicateNameError: another place registered the same name.
    """
    suite = read_suite(Path(path))
    SUITES.add(suite.name, suite, suite.origin)
    return suite


def read_suite(path: Path) -> Suite:
    """The suite of a YAML file.

    Raises:
        ConfigError: with file and line, for whatever is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        document.report((), f"a suite is a mapping with name, version and tasks, got "
                            f"{show_value(document.value)}")  # fmt: skip
        raise TaskError(document.problems, document.file)
    spec = read_part(SuiteSpec, document.value, (), document, SuiteSpec)
    if spec is None or document.problems:
        raise TaskError(document.problems, document.file)
    origin = f"{document.file}:{document.line(('name',))}"
    return Suite(spec.name, spec.version, spec.description.strip(), tuple(spec.tasks), origin)


def load_suite(ref: str | Path) -> list[Task]:
    """The tasks of a suite, by its name or the path of its YAML file.

    Raises:
        UnknownNameError: no suite has that name.
        ConfigError: with file and line, the file is not a suite, or names no such task.
    """
    if isinstance(ref, Path) or "/" in ref or Path(ref).suffix in YAML:
        return read_suite(Path(ref)).load()
    return SUITES.get(ref).load()
