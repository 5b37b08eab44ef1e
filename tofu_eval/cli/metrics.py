"""`tofu-eval metrics`."""

from __future__ import annotations

import inspect

import click

ARROWS = {"higher": "↑", "lower": "↓", "none": "·"}


@click.group("metrics")
def command() -> None:
    """List and show metrics."""


@command.command("list")
def list_() -> None:
    """Every metric: direction, level, cost, needs and paper."""
    from tofu_eval.cli.console import note, print_table
    from tofu_eval.metrics import METRICS

    rows, broken = [], []
    for entry in METRICS.entries():
        metric = entry.item
        if metric is None:
            broken.append(f"{entry.name} is broken: {entry.error}")
        else:
            arrow = f"{ARROWS[metric.direction]} {metric.measures}"
            needs = "+".join(metric.needs)
            rows.append([metric.name, arrow, metric.level, metric.cost, needs, metric.paper])
    print_table(["metric", "direction", "level", "cost", "needs", "paper"], rows)
    for line in broken:
        note(line)
    click.echo("↑ higher is more diverse (quality: better)   ↓ lower is   · neither")
    click.echo("NAME@VARIANT reproduces a published number; NAME is the faithful definition.")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """All that there is to know about one metric."""
    from tofu_eval.metrics import METRICS

    metric = METRICS.get(name)
    low, high = metric.range
    settings = ", ".join(f"{key}={value}" for key, value in metric.settings.items()) or "none"
    click.echo(f"{metric.name}  (version {metric.version}, measures {metric.measures})\n")
    click.echo(f"{inspect.getdoc(metric.function)}\n")
    click.echo(f"direction  {ARROWS[metric.direction]} {metric.direction}")
    click.echo(f"range      [{low}, {high}]")
    click.echo(f"level      {metric.level}")
    click.echo(f"needs      {', '.join(metric.needs)}")
    click.echo(f"length     {'moves it' if metric.length_sensitive else 'does not move it'}")
    click.echo(f"cost       {metric.cost}")
    click.echo(f"settings   {settings}")
    click.echo(f"paper      {metric.paper}")
