"""`tofu-eval split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.comparing import comparing_options


@click.command("split")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", required=True, help="A metric that the run was scored with: vendi.")
@click.option(
    "--passing",
    required=True,
    metavar="CONDITION",
    help="correct, reward>=X or judge>=X; the run was scored with METRIC[CONDITION] too.",
)
@click.option("--baseline", metavar="MODEL", help="The model before. Default: the first.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@comparing_options
def command(
    run: Path,
    metric: str,
    passing: str,
    baseline: str | None,
    tasks: tuple[str, ...],
    **how: Any,
) -> None:
    """Split a loss of diversity: what removing bad responses explains, and the rest.

    \b
    tofu-eval score base.jsonl sft.jsonl --output runs/x --reward-model REWARD \\
        --metric vendi --metric 'vendi[reward>=-3]'
    tofu-eval split runs/x --metric vendi --passing 'reward>=-3'
    """
    from tofu_eval.analysis.compare_run import how_of
    from tofu_eval.analysis.direction import sign_of
    from tofu_eval.analysis.quality_split import split_loss
    from tofu_eval.cli.measured import check_kind, check_measured
    from tofu_eval.core.errors import ConfigError, UnknownNameError
    from tofu_eval.core.escape import printable
    from tofu_eval.metrics import find
    from tofu_eval.report.split_text import split_notes
    from tofu_eval.run.store import Run

    opened = Run.open(run)
    scores = opened.scores()
    good = find(f"{metric}[{passing}]").name
    names = {name: scores.column(name).unique().to_pylist() for name in ("metric", "model", "task")}
    check_measured(opened, (metric, good))
    check_kind(opened, metric, "diversity", "--metric")
    base = baseline or names["model"][0]
    wanted = [("metric", metric), ("model", base), *(("task", task) for task in tasks)]
    for noun, name in wanted:
        if name not in names[noun]:
            raise UnknownNameError.of(noun, name, names[noun], f"tofu-eval compare {run}")
    if tasks:
        scores = scores.filter([task in tasks for task in scores.column("task").to_pylist()])
    sign = sign_of(opened.manifest, metric)
    others = [model for model in names["model"] if model != base]
    if not others:
        raise ConfigError(f"{run} has only the model '{base}'; a loss is between two.")
    shown = tasks or scores.column("task").unique().to_pylist()
    chosen = how_of(opened, shown, **how)
    smaller, margin = opened.equal_scores(), chosen.margins.get(metric)
    click.echo(f"Loss of {metric} since {base}, of it among responses with {passing}:")
    for model in others:
        parts = split_loss(
            scores, (base, model), (metric, good), sign=sign, smaller=smaller, how=chosen
        )
        prompts = f"{parts.total.n} prompt{'' if parts.total.n == 1 else 's'}"
        over = "" if parts.clusters is None else f" in {parts.clusters} clusters"
        click.echo(f"{model}  ({prompts}{over}, {parts.dropped} left out)")
        for line in split_notes(parts, base, model):
            click.echo(printable(f"  {line}"))
        for name in ("total", "quality", "residual"):
            part = getattr(parts, name)
            interval = "" if part.low is None else f"  [{part.low:.4g}, {part.high:.4g}]"
            none = ""
            if margin and part.low is not None and -margin < part.low and part.high < margin:
                none = f"  counts as none: within {margin:g} on both sides"
            click.echo(f"  {name:<9}{part.value:.4g}{interval}{none}")
        if parts.explained is not None:
            click.echo(f"  removing bad responses explains {parts.explained:.0%} of the total")
