"""`tofu-eval frontier`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.comparing import comparing_options

FORMATS = ("table", "markdown", "csv", "json")


@click.command("frontier")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--quality", required=True, metavar="METRIC", help="Such as reward or accuracy.")
@click.option("--diversity", required=True, metavar="METRIC", help="Such as vendi or distinct_k.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks. Default: all with both.")
@click.option("--series", multiple=True, help="Only these: a model's name without its temperature.")
@click.option(
    "--baseline",
    metavar="SERIES",
    help="Put every other series beside this one. Default: every two.",
)
@click.option("--format", "style", type=click.Choice(FORMATS), default="table")
@comparing_options
def command(
    run: Path,
    quality: str,
    diversity: str,
    tasks: tuple[str, ...],
    series: tuple[str, ...],
    baseline: str | None,
    style: str,
    **how: Any,
) -> None:
    """Quality against diversity, over models and temperatures: is one better, or only hotter?

    \b
    tofu-eval run --model sft=SFT --model tofu=TOFU --task open-prompts \\
        --temperature 0.3,0.7,1.0,1.3 --reward-model REWARD --output runs/x
    tofu-eval frontier runs/x --quality reward --diversity vendi --baseline sft
    """
    from tofu_eval.analysis.compare_run import how_of
    from tofu_eval.analysis.frontier import frontiers
    from tofu_eval.cli.console import note
    from tofu_eval.cli.measured import check_kind, check_measured
    from tofu_eval.core.escape import printable
    from tofu_eval.report.frontier_text import render_frontiers
    from tofu_eval.run.store import Run

    opened = Run.open(run)
    if opened.manifest["status"] != "complete":
        note(f"{run} is unfinished; run the command that made it again.")
    check_measured(opened, (quality, diversity))
    check_kind(opened, quality, "quality", "--quality")
    check_kind(opened, diversity, "diversity", "--diversity")
    frontier_list = frontiers(
        opened.scores(),
        opened.manifest,
        tasks=tasks,
        quality=quality,
        diversity=diversity,
        series=series or None,
        baseline=baseline,
        seed=opened.manifest["settings"]["seed"],
        smaller=opened.equal_scores(),
        how=how_of(opened, list(opened.manifest["tasks"]), **how),
    )
    text = render_frontiers(frontier_list, style)
    if style == "table":  # ids of prompts are anybody's text
        text = "\n".join(printable(line) for line in text.split("\n"))
    click.echo(text, nl=False)
