"""`tofu-eval metrics`."""

from __future__ import annotations

import inspect

import click

NO_ARROW = "·"
"""Of a metric without a direction."""


@click.group("metrics")
def command() -> None:
    """List and show metrics."""


@command.command("list")
def list_() -> None:
    """Every metric: its name, direction, cost and needs, one a line."""
    from tofu_eval.analysis.direction import arrow_of
    from tofu_eval.cli.console import note
    from tofu_eval.core.escape import printable
    from tofu_eval.metrics import METRICS

    rows, broken = [("metric", "direction", "cost", "needs")], []
    for entry in METRICS.entries():
        metric = entry.item
        if metric is None:
            broken.append(f"{entry.name} is broken: {entry.error}")
        else:
            arrow = f"{arrow_of(metric.direction) or NO_ARROW} {metric.measures}"
            rows.append((metric.name, arrow, metric.cost, "+".join(metric.needs)))
    # A name is for copying, so no table that breaks it.
    width = max(len(name) for name, *_ in rows)
    for name, arrow, cost, needs in rows:
        click.echo(printable(f"{name:{width}}  {arrow:11}  {cost:5}  {needs}"))
    for line in broken:
        note(line)
    click.echo("↑ higher is more diverse (quality: better)   ↓ lower is   · neither")
    click.echo("NAME@VARIANT reproduces a published number; NAME is the faithful definition.")
    click.echo("All there is to know about one, its paper too: tofu-eval metrics show NAME")


@command.command("trust")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown"]),
    default="table",
    show_default=True,
    help="As what it is printed.",
)
def trust(form: str) -> None:
    """How far each number can be trusted: what people see, what moves it, languages, cost.

    OCA: how well it tells sets of responses that are diverse in content from others; rho, people:
    rank correlation with what people said; rho, temperature: with the temperature of sampling;
    rho, length: with the length of texts, what people said held fixed.
    """
    from tofu_eval.cli.console import print_table
    from tofu_eval.core.escape import markdown_row
    from tofu_eval.metrics import METRICS
    from tofu_eval.metrics._validity import HEADER, NEEDS_HEADER, need_rows, trust_rows

    rows = trust_rows(
        entry.item
        for entry in METRICS.entries()
        if entry.item is not None
        and entry.item.function.__module__.startswith("tofu_eval.metrics.")
    )
    if form == "table":
        print_table(HEADER, rows)
        print_table(NEEDS_HEADER, need_rows())
        return
    for header, cells in ((HEADER, rows), (NEEDS_HEADER, need_rows())):
        click.echo(markdown_row(header))
        click.echo(markdown_row(["---"] * len(header)))
        for name, *rest in cells:
            click.echo(markdown_row((f"`{name}`", *rest)))
        click.echo()


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """All that there is to know about one metric."""
    from tofu_eval.analysis.direction import arrow_of
    from tofu_eval.metrics import METRICS
    from tofu_eval.metrics._validity import describe_cost, describe_validity, languages_of

    metric = METRICS.get(name)
    low, high = metric.range
    settings = ", ".join(f"{key}={value}" for key, value in metric.settings.items()) or "none"
    click.echo(f"{metric.name}  (version {metric.version}, measures {metric.measures})\n")
    click.echo(f"{inspect.getdoc(metric.function)}\n")
    click.echo(f"direction  {arrow_of(metric.direction) or NO_ARROW} {metric.direction}")
    click.echo(f"range      [{low}, {high}]")
    click.echo(f"level      {metric.level}")
    click.echo(f"needs      {', '.join(metric.needs)}")
    click.echo(f"length     {'moves it' if metric.length_sensitive else 'does not move it'}")
    click.echo(f"languages  {languages_of(metric)}")
    click.echo(f"cost       {describe_cost(metric)}")
    click.echo(f"settings   {settings}")
    click.echo(f"bias       {metric.bias or 'none in the number of responses'}")
    click.echo(f"paper      {metric.paper}")
    for line in describe_validity(name) or ["not measured"]:
        click.echo(f"people     {line}")
