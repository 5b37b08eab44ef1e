"""`tofu-eval split`."""

from __future__ import annotations

from pathlib import Path

import click


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
def command(
    run: Path, metric: str, passing: str, baseline: str | None, tasks: tuple[str, ...]
) -> None:
    """Split a loss of diversity: what removing bad responses explains, and the rest.

    \b
    tofu-eval score base.jsonl sft.jsonl --output runs/x --reward-model REWARD \\
        --metric vendi --metric 'vendi[reward>=-3]'
    tofu-eval split runs/x --metric vendi --passing 'reward>=-3'
    """
    from tofu_eval.analysis.direction import sign_of
    from tofu_eval.analysis.quality_split import split_loss
    from tofu_eval.cli.measured import check_kind, check_measured
    from tofu_eval.core.errors import ConfigError, UnknownNameError
    from tofu_eval.metrics import find
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
    seed = opened.manifest["settings"]["seed"]
    click.echo(f"Loss of {metric} since {base}, of it among responses with {passing}:")
    for model in others:
        parts = split_loss(scores, (base, model), (metric, good), sign=sign, seed=seed)
        click.echo(f"{model}  ({parts.total.n} prompts, {parts.dropped} left out)")
        for name in ("total", "quality", "residual"):
            part = getattr(parts, name)
            interval = "" if part.low is None else f"  [{part.low:.4g}, {part.high:.4g}]"
            click.echo(f"  {name:<9}{part.value:.4g}{interval}")
        if parts.explained is not None:
            click.echo(f"  removing bad responses explains {parts.explained:.0%} of the total")
