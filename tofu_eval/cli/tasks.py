"""`tofu-eval tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tofu_eval.cli.options import data_dir_option
from tofu_eval.core.escape import printable

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry
    from tofu_eval.core.types import Task
    from tofu_eval.tasks.suite import Suite


@click.group("tasks")
def command() -> None:
    """List, show and check tasks."""


@command.command("list")
def list_() -> None:
    """Every task: version, format, sampling, licence."""
    from tofu_eval.cli.console import note, print_table
    from tofu_eval.tasks import TASKS

    rows, broken = [], []
    for entry in TASKS.entries():
        task = entry.item
        if task is None:
            broken.append(f"{entry.name} is broken: {entry.error}")
        else:
            rows.append(
                [task.name, str(task.version), task.format, _sampling_text(task), task.licence]
            )
    print_table(["task", "version", "format", "sampling", "licence"], rows)
    for line in broken:
        note(line)


@command.command("show")
@click.argument("ref")
@click.option("--prompts", "count", type=int, default=3, help="How many prompts to show.")
@data_dir_option
def show(ref: str, count: int, data_dir: Path | None) -> None:
    """One task, by name or file, with its first prompts.

    Where these would have to be downloaded, they are only shown with --data-dir.
    """
    from tofu_eval.tasks import load_task
    from tofu_eval.tasks.loader import is_at_hand

    task = load_task(ref, data_dir)
    prompts = task.load() if is_at_hand(task) or data_dir else ()
    sampling = task.sampling
    _echo(f"{task.name}  (version {task.version})\n\n{task.description}\n")
    click.echo(f"prompts   {len(prompts) or 'not on this machine'}")
    click.echo(f"format    {task.format}")
    click.echo(
        f"sampling  {sampling.samples} samples, temperature {sampling.temperature:g}, "
        f"top-p {sampling.top_p:g}, at most {sampling.max_tokens} tokens"
    )
    _echo(f"metrics   {', '.join(task.metrics) or 'the default set'}")
    if task.cluster:
        _echo(f"clusters  by {task.cluster}")
    _echo(f"licence   {task.licence}\nsource    {task.source}\ncitation  {task.citation}")
    if task.data:
        _echo(f"data      {', '.join(f'{name} {value}' for name, value in task.data.items())}")
    if fetch := getattr(task.load, "fetch", None) if task.data else None:
        _echo(f"fetch     {fetch}")
    _echo(f"file      {task.origin}\n")
    for prompt in prompts[:count]:
        _echo(f"[{prompt.id}] {prompt.text}")


@command.command("suites")
def suites() -> None:
    """Every suite: its tasks, and the sampling that it asks them with."""
    from tofu_eval.cli.console import note, print_table
    from tofu_eval.core.errors import TofuEvalError
    from tofu_eval.tasks import SUITES

    rows, remarks = [], []
    for entry in SUITES.entries():
        if entry.item is None:
            remarks.append(f"{entry.name} is broken: {entry.error}")
            continue
        try:
            tasks = entry.item.load()
        except TofuEvalError as error:
            remarks.append(f"{entry.name} is broken: {error}")
            continue
        for member, task in zip(entry.item.members, tasks, strict=True):
            count = "all" if member.limit is None else str(member.limit)
            rows.append([entry.name, task.name, _sampling_text(task), count])
        remarks.append(f"{entry.name}: {entry.item.description}")
    print_table(["suite", "task", "sampling", "prompts"], rows)
    for line in remarks:
        note(line)


@command.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@data_dir_option
def check(files: tuple[Path, ...], data_dir: Path | None) -> None:
    """Check task files, each error with file and line; without FILES, every registered task.

    Nothing is downloaded: prompts that are not on this machine are read with --data-dir.
    """
    from tofu_eval.cli.console import note
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.metrics import METRICS
    from tofu_eval.tasks import SUITES, check_registered, check_task

    metrics = [entry.name for entry in METRICS.entries()]
    problems: list[str] = []
    if files:
        for file in files:
            problems += check_task(file, known_metrics=metrics)
    else:
        problems, remarks = check_registered(data_dir, metrics)
        for remark in remarks:
            note(remark)
        problems += _wrong_suites(SUITES)
    for problem in problems[:-1]:
        click.echo(printable(problem), err=True)
    if problems:
        raise ConfigError(problems[-1])
    _echo(f"{', '.join(map(str, files)) or 'All registered tasks and suites'}: no problems.")


def _wrong_suites(suites: Registry[Suite]) -> list[str]:
    from tofu_eval.core.errors import TofuEvalError

    problems = []
    for entry in suites.entries():
        try:
            if entry.item is None:
                problems.append(str(entry.error))
            else:
                entry.item.load()
        except TofuEvalError as error:
            problems.append(str(error))
    return problems


def _sampling_text(task: Task) -> str:
    text = f"{task.sampling.samples} × T={task.sampling.temperature:g}"
    return text + (f" top-p={task.sampling.top_p:g}" if task.sampling.top_p < 1 else "")


def _echo(text: str) -> None:
    """Print what somebody else wrote: its line ends, but no commands to the terminal."""
    click.echo("\n".join(map(printable, text.split("\n"))))
