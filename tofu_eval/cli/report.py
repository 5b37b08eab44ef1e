"""`tofu-eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.comparing import comparing_options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Default: RUN/report.html.")
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option(
    "--prompts",
    multiple=True,
    metavar="N-M|ID",
    help="Show the responses to these prompts: places in their task, or an id. Default: all, or "
    "where they are more than 10,000 some, by chance.",
)
@comparing_options
def command(
    run: Path,
    output: Path | None,
    baseline: str | None,
    metrics: tuple[str, ...],
    tasks: tuple[str, ...],
    prompts: tuple[str, ...],
    **how: Any,
) -> None:
    """Write a run as one HTML file to look at: the answer, all numbers, charts, responses.

    The file holds everything and loads nothing; any browser opens it, on a phone too.
    """
    from tofu_eval.cli.measured import check_measured
    from tofu_eval.report import read, write_page
    from tofu_eval.run.store import Run

    opened = Run.open(run)
    check_measured(opened, metrics)
    contents = read(
        opened, baseline=baseline, tasks=tasks, metrics=metrics, prompts=prompts, how=how
    )
    path = output or run / "report.html"
    size = write_page(path, contents)
    click.echo(contents.answer)
    click.echo(f"\nReport: {path} ({size / 1e6:.1f} MB)")
