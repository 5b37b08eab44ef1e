"""`tofu-eval quickstart --real`: what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click


def run_real(
    output: Path,
    seed: int,
    losses: Sequence[str],
    quick: bool,
    model: str | None,
    seeds: int,
    data: Path | None,
    controls: Sequence[str] | None,
) -> None:
    """Make or finish everything under `output`, and say what came out."""
    from rich.console import Console

    from tofu_eval.cli.console import progress
    from tofu_eval.cli.quickstart import write_report
    from tofu_eval.core.errors import MissingDependencyError
    from tofu_eval.core.escape import printable

    for package in ("torch", "transformers", "trl", "peft"):  # found, not imported
        if find_spec(package) is None:
            raise MissingDependencyError.of("The quickstart", package, "train")
    from tofu_eval.lab.real import RealPlan, real_quickstart
    from tofu_eval.lab.real.quickstart import CONTROLS, find_model
    from tofu_eval.report.comparison_text import answer_text, table
    from tofu_eval.report.frontier_text import render_frontiers

    plan = RealPlan(
        output,
        find_model(model),
        tuple(range(seed, seed + seeds)),
        tuple(losses),
        quick,
        data,
        CONTROLS if controls is None else tuple(controls),
    )
    with progress() as report:
        result = real_quickstart(plan, report=report)
    click.echo(f"{seeds} training seed{'s' * (seeds > 1)} a loss, at temperature 1:\n")
    console = Console()
    console.print(answer_text(result.comparison))
    console.print(table(result.comparison))
    for line in render_frontiers(result.frontiers, "table").split("\n"):
        click.echo(printable(line))
    if seeds < 3:
        click.echo("One training says little of a loss. More: --seeds 3")
    click.echo(f"\nrun          {result.run}\nleaderboard  {result.run / 'leaderboard.json'}")
    write_report(result.run, "base-T1", "To look at in a browser:")
