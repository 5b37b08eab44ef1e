"""`tofu-eval compare`, and the table at the end of `run` and `score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tofu_eval.cli.comparing import comparing_options

if TYPE_CHECKING:
    from tofu_eval.analysis.comparison import Comparison
    from tofu_eval.pipeline.evaluate import Result
    from tofu_eval.run.store import Run

FORMATS = ("table", "markdown", "latex", "csv", "json")


@click.command("compare")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--baseline", metavar="MODEL", help="Compare with this model. Default: the first.")
@click.option("--metric", "metrics", multiple=True, help="Only these metrics.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option(
    "--series",
    multiple=True,
    metavar="NAME=MODEL,MODEL,…",
    help="These models are seeds of one method. A sweep says so itself.",
)
@comparing_options
@click.option(
    "--power", is_flag=True, help="How many prompts or samples would settle each question."
)
@click.option("--format", "style", type=click.Choice(FORMATS), default="table")
def command(
    run: Path,
    baseline: str | None,
    metrics: tuple[str, ...],
    tasks: tuple[str, ...],
    series: tuple[str, ...],
    power: bool,
    style: str,
    **how: Any,
) -> None:
    """The answer in a sentence, then models x metrics with 95% intervals and paired differences.

    \b
    tofu-eval compare runs/x --baseline base
    tofu-eval compare runs/x --metric vendi --power
    tofu-eval compare runs/x --series sft=sft-0,sft-1,sft-2
    tofu-eval compare runs/x --cluster category --margin accuracy=0.01
    """
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.run.store import Run

    opened = Run.open(run)
    if power and style not in ("table", "json"):
        raise ConfigError(f"--power comes as a table or as JSON, not as {style}. Use --format json")
    comparison = compare_models(opened, baseline, metrics, tasks, series, **how)
    if power:
        _print_needs(opened, comparison, style)
    else:
        _print(comparison, style)


def print_run(result: Result, baseline: str | None = None, *, cluster: str | None = None) -> None:
    """What `run` and `score` print at their end."""
    from tofu_eval.run.store import Run

    if result.path is None:
        return
    run = Run.open(result.path)
    _print(compare_models(run, baseline, cluster=cluster), "table")
    click.echo(f"\nRun:         {result.path}\nLeaderboard: {result.path / 'leaderboard.json'}")


def compare_models(
    run: Run,
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    tasks: Sequence[str] = (),
    series: Sequence[str] = (),
    **how: Any,
) -> Comparison:
    """The comparison of a run's models; seeds of one series are one model.

    `how` is `cluster`, `margins`, `responses` and `min_responses` of `compare_run`.

    Raises:
        UnknownNameError: a metric, task or model that the run does not have.
        ConfigError: a series that is not NAME=MODEL,MODEL.
    """
    from tofu_eval.analysis.compare_run import chosen_scores, compare_run
    from tofu_eval.cli.measured import check_measured

    check_measured(run, metrics)
    scores = chosen_scores(run, tasks=tasks, metrics=metrics)
    return compare_run(run, scores, baseline, models=_in_series(run, series), **how)


def _in_series(run: Run, series: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
    """The models of run.json, with what --series says of them."""
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.pipeline.finished import group_into_series

    members_of: dict[str, list[str]] = {}
    for text in series:
        name, equals, listed = text.partition("=")
        if not equals or name in members_of:
            raise ConfigError(
                "--series takes NAME=MODEL,MODEL,… with two models or more, and each name once, "
                f"got '{text}'."
            )
        members_of[name] = [member.strip() for member in listed.split(",")]
    return group_into_series(run, members_of)


def _print(comparison: Comparison, style: str) -> None:
    """Compare on stdout, in one of FORMATS."""
    from tofu_eval.report.comparison_text import answer_text, render, table

    if style != "table":
        click.echo(render(comparison, style), nl=False)
        return
    from rich.console import Console

    console = Console()
    console.print(answer_text(comparison))
    console.print(table(comparison))


def _print_needs(run: Run, comparison: Comparison, style: str) -> None:
    import json
    from dataclasses import asdict

    from tofu_eval.analysis.sample_size import needs
    from tofu_eval.cli.console import note
    from tofu_eval.pipeline.sampling_noise import sampling_noise
    from tofu_eval.report.power_text import needs_text

    noise, remarks = sampling_noise(run, list(dict.fromkeys(r.metric for r in comparison.rows)))
    for remark in remarks:
        note(remark)
    rows = needs(comparison, noise)
    if style == "json":
        click.echo(json.dumps([asdict(need) for need in rows], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(needs_text(rows)))
