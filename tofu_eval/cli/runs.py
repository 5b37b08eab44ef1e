"""`tofu-eval runs`."""

from __future__ import annotations

from pathlib import Path

import click

_RUN = click.argument("run", type=click.Path(path_type=Path))


@click.group("runs")
def command() -> None:
    """List, show, verify and clean run directories."""


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
def list_(folder: Path) -> None:
    """Every run in a folder (default: runs), with how much of it is done."""
    from tofu_eval.cli.console import note, print_table
    from tofu_eval.core.errors import StoreError
    from tofu_eval.run.owed import count_all
    from tofu_eval.run.store import Run
    from tofu_eval.run.verify import runs_in, size

    rows = []
    for path in runs_in(folder):
        try:
            run = Run.open(path)
        except StoreError as error:
            note(str(error))
            continue
        there = count_all(run).values()
        have, want = sum(h for h, _ in there), sum(w for _, w in there if w is not None)
        done = f"{have} of {want}" if want else str(have)
        models, tasks = ", ".join(run.manifest["models"]), ", ".join(run.manifest["tasks"])
        rows.append([str(path), run.manifest["status"], models, tasks, done, _bytes(size(path))])
    if not rows:
        note(f"No runs in {folder}. Make one: tofu-eval run --output {folder}/x …")
        return
    print_table(["run", "status", "models", "tasks", "responses", "size"], rows)


@command.command("show")
@_RUN
def show(run: Path) -> None:
    """What a run was asked for, what made it and how far it is."""
    from tofu_eval.cli.console import print_table
    from tofu_eval.run.owed import count_all
    from tofu_eval.run.store import Run

    opened = Run.open(run)
    manifest = opened.manifest
    rows = []
    for (model, task), (have, want) in count_all(opened).items():
        described = manifest["models"][model]
        sampling = manifest["tasks"][task]["sampling"]
        words = " ".join(f"{k}={v}" for k, v in sampling.items())
        fmt = described["prompt_format"].get(task, "")
        done = f"{have} of {want}" if want is not None else str(have)
        rows.append([model, task, described["engine"], fmt, done, words])
    print_table(["model", "task", "engine", "format", "responses", "sampling"], rows)
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in manifest.get("timings", {}).items())
    click.echo(f"status   {manifest['status']}, created {manifest.get('created', 'unknown')}")
    click.echo(f"seed     {manifest.get('settings', {}).get('seed')}")
    click.echo(f"took     {seconds or 'nothing yet'}")
    for model, described in manifest["models"].items():
        if record := described.get("record"):
            import json

            click.echo(f"{model}: {json.dumps(record, ensure_ascii=True)}")
    for remark in manifest.get("notes", []):
        click.echo(f"note     {remark}")


@command.command("verify")
@_RUN
def verify(run: Path) -> None:
    """Read every table again: is all there, whole and once? Exit code 2 where it is not."""
    from tofu_eval.core.errors import StoreError
    from tofu_eval.core.escape import printable
    from tofu_eval.run.verify import verify

    outcome = verify(run)
    for problem in outcome.problems:
        click.echo(printable(str(problem)))
    if outcome.problems:
        count = len(outcome.problems)
        raise StoreError(
            f"{run} has {count} problem{'s' if count > 1 else ''}, in {outcome.files} files and "
            f"{outcome.responses} responses that could be read; each is named above with its "
            "remedy."
        )
    click.echo(f"{run}: whole; {outcome.files} files, {outcome.responses} responses.")


@command.command("clean")
@_RUN
@click.option("--yes", is_flag=True, help="Do it. Without, only what would be removed is shown.")
def clean(run: Path, yes: bool) -> None:
    """Remove what killed processes left, damaged files, and rows that stand twice.

    Responses are never removed, but for the second copy of a row.
    """
    from tofu_eval.run.verify import clean, leftovers, verify

    if not yes:
        for file in leftovers(run):
            click.echo(f"would remove {file.relative_to(run)}")
        for problem in verify(run).problems:
            click.echo(f"{problem.where}: {problem.what}")
        click.echo(f"Do it: tofu-eval runs clean {run} --yes")
        return
    for line in clean(run) or ["nothing to clean"]:
        click.echo(line)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
