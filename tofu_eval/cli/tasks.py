"""`tofu-eval tasks`."""

from __future__ import annotations

from pathlib import Path

import click

from tofu_eval.cli import printable


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
            sampling = f"{task.sampling.samples} × T={task.sampling.temperature:g}"
            if task.sampling.top_p < 1:
                sampling += f" top-p={task.sampling.top_p:g}"
            rows.append([task.name, str(task.version), task.format, sampling, task.licence])
    print_table(["task", "version", "format", "sampling", "licence"], rows)
    for line in broken:
        note(line)


@command.command("show")
@click.argument("ref")
@click.option("--prompts", "count", type=int, default=3, help="How many prompts to show.")
def show(ref: str, count: int) -> None:
    """One task, by name or file, with its first prompts."""
    from tofu_eval.tasks import load_task

    task = load_task(ref)
    prompts = task.load()
    sampling = task.sampling
    _echo(f"{task.name}  (version {task.version})\n\n{task.description}\n")
    click.echo(f"prompts   {len(prompts)}")
    click.echo(f"format    {task.format}")
    click.echo(
        f"sampling  {sampling.samples} samples, temperature {sampling.temperature:g}, "
        f"top-p {sampling.top_p:g}, at most {sampling.max_tokens} tokens"
    )
    _echo(f"metrics   {', '.join(task.metrics) or 'the default set'}")
    _echo(f"licence   {task.licence}\nsource    {task.source}\ncitation  {task.citation}")
    _echo(f"file      {task.origin}\n")
    for prompt in prompts[:count]:
        _echo(f"[{prompt.id}] {prompt.text}")


@command.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check task files, each error with file and line; without FILES, every registered task."""
    from tofu_eval.errors import ConfigError
    from tofu_eval.metrics import METRICS
    from tofu_eval.tasks import TASKS, check_task

    known = [entry.name for entry in METRICS.entries()]
    problems: list[str] = []
    if files:
        for file in files:
            problems += check_task(file, known_metrics=known)
    else:
        for entry in TASKS.entries():
            if entry.item is None:
                problems.append(str(entry.error))
                continue
            entry.item.load()
            problems += [
                f"{entry.origin}: unknown metric '{name}'"
                for name in entry.item.metrics
                if name not in known
            ]
    for problem in problems[:-1]:
        click.echo(printable(problem), err=True)
    if problems:
        raise ConfigError(problems[-1])
    _echo(f"{', '.join(map(str, files)) or 'All registered tasks'}: no problems.")


def _echo(text: str) -> None:
    """Print what somebody else wrote: its line ends, but no commands to the terminal."""
    click.echo("\n".join(map(printable, text.split("\n"))))
