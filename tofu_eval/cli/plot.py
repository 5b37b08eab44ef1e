"""`tofu-eval plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.comparing import comparing_options

PLOTS = (
    *("forest", "differences", "means", "frontier", "rarefaction"),
    *("prompts", "steps", "lengths"),
)
"""What the report's charts are called; a test compares it with `report.CHARTS`."""


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--plot", "name", type=click.Choice(PLOTS), required=True, help="Which chart.")
@click.option("--output", type=click.Path(path_type=Path), help="Default: NAME.FORMAT, here.")
@click.option(
    "--format",
    "style",
    type=click.Choice(("svg", "png", "pdf")),
    help="Default: what --output ends in, else svg.",
)
@click.option("--task", help="For this task. Default: the first.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="For this metric; several are drawn one below the other. Default: that of the answer.",
)
@click.option("--quality", help="The frontier's metric of quality. Default: the first.")
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@click.option("--theme", type=click.Choice(("light", "dark")), default="light", show_default=True)
@comparing_options
def command(
    run: Path,
    name: str,
    output: Path | None,
    style: str | None,
    baseline: str | None,
    theme: str,
    metrics: tuple[str, ...],
    task: str | None,
    quality: str | None,
    **how: Any,
) -> None:
    """Draw one chart of the report as SVG, PNG or PDF, for a paper."""
    from tofu_eval.cli.measured import check_measured
    from tofu_eval.report import draw, read
    from tofu_eval.run.files import atomic_write
    from tofu_eval.run.store import Run

    ending = output.suffix.removeprefix(".").lower() if output else ""
    style = style or (ending if ending in ("svg", "png", "pdf") else "svg")
    path = output or Path(f"{name}.{style}")
    opened = Run.open(run)
    check_measured(opened, [*metrics, *([quality] if quality else [])])
    contents = read(opened, baseline=baseline, responses=False, how=how)
    drawn = draw(
        contents, name, format=style, theme=theme, metrics=metrics, task=task, quality=quality
    )
    atomic_write(path, lambda file: file.write(drawn))
    click.echo(f"Plot: {path}")
