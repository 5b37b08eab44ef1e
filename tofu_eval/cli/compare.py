"""`tofu-eval compare`, and the table at the end of `run` and `score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.pipeline import Result
    from tofu_eval.store import Run

FORMATS = ("table", "markdown", "csv", "json")


@click.command("compare")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="table")
def command(
    run: Path,
    baseline: str | None,
    metrics: tuple[str, ...],
    tasks: tuple[str, ...],
    style: str,
) -> None:
    """Models x metrics with 95% intervals over prompts, and paired differences to a baseline."""
    from tofu_eval.store import Run

    print_comparison(Run.open(run), baseline, metrics, tasks, style)


def print_run(result: Result, baseline: str | None = None) -> None:
    """What `run` and `score` print at their end."""
    from tofu_eval.cli.console import note
    from tofu_eval.store import Run

    if result.path is None:
        return
    for remark in result.notes:
        note(remark)
    print_comparison(Run.open(result.path), baseline, (), (), "table")
    click.echo(f"\nRun:         {result.path}\nLeaderboard: {result.path / 'leaderboard.json'}")


def print_comparison(
    run: Run, baseline: str | None, metrics: Sequence[str], tasks: Sequence[str], style: str
) -> None:
    """Compare on stdout, in one of FORMATS."""
    from tofu_eval.cli.console import note
    from tofu_eval.errors import UnknownNameError
    from tofu_eval.leaderboard import (
        How,
        compare,
        headline,
        length_warnings,
        render,
        seeds_together,
        table,
    )

    if run.manifest["status"] != "complete":
        note(f"{run.path} is unfinished; run the command that made it again.")
    scores = run.scores()
    for noun, column, wanted in (("metric", "metric", metrics), ("task", "task", tasks)):
        known = scores.column(column).unique().to_pylist()
        for name in wanted:
            if name not in known:
                raise UnknownNameError.of(noun, name, known, f"tofu-eval compare {run.path}")
        if wanted:
            scores = scores.filter([name in wanted for name in scores.column(column).to_pylist()])
    facts = run.manifest.get("metrics", {})
    comparison = compare(
        scores,
        baseline or scores.column("model")[0].as_py(),
        seed=run.manifest["settings"]["seed"],
        # What the run was scored with, whether or not it is still installed.
        metrics={name: m["direction"] for name, m in facts.items()},
        how=How(facts=facts),
        series=seeds_together(run.manifest["models"]),
    )
    for line in length_warnings(comparison, _lengths(run), _length_sensitive(run)):
        note(line)
    if style == "table":
        from rich.console import Console
        from rich.text import Text

        console = Console()
        console.print(Text(headline(comparison)))
        console.print()
        console.print(table(comparison))
    else:
        click.echo(render(comparison, style), nl=False)


def _length_sensitive(run: Run) -> set[str]:
    """The metrics that length moves; none where the run cut its texts to equal length."""
    if run.manifest["settings"].get("truncate") is not None:
        return set()
    facts = run.manifest.get("metrics", {})
    return {name for name, fact in facts.items() if fact.get("length_sensitive")}


def _lengths(run: Run) -> dict[tuple[str, str], float]:
    from tofu_eval.reading import mean_characters

    places = [(m, t) for m in run.manifest["models"] for t in run.manifest["tasks"]]
    found = {place: mean_characters(run, *place) for place in places}
    return {place: length for place, length in found.items() if length is not None}
