"""`tofu-eval importers`."""

from __future__ import annotations

import inspect
import sys

import click


@click.group("importers")
def command() -> None:
    """List and show the formats of responses that are read."""


@command.command("list")
def list_() -> None:
    """Every importer: its name and what it reads, one a line."""
    from tofu_eval.cli.console import note
    from tofu_eval.core.escape import printable
    from tofu_eval.importers.base import IMPORTERS

    rows, broken = [("importer", "reads", "told by")], []
    for entry in IMPORTERS.entries():
        item = entry.item
        if item is None:
            broken.append(f"{entry.name} is broken: {entry.error}")
        else:
            fields = ", ".join(item.fields) or "whatever no other importer knows"
            rows.append((item.name, item.title, fields))
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    for name, title, fields in rows:
        click.echo(printable(f"{name:{widths[0]}}  {title:{widths[1]}}  {fields}"))
    for line in broken:
        note(line)
    click.echo("All there is to know about one: tofu-eval importers show NAME")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Which tool writes a format, of which version, and what each field means."""
    from tofu_eval.importers.base import IMPORTERS

    item = IMPORTERS.get(name)
    click.echo(f"{item.name}  ({item.title})\n")
    click.echo(f"{inspect.getdoc(sys.modules[item.read.__module__])}\n")
    click.echo(f"{inspect.getdoc(item.read)}\n")
    click.echo(f"told by    {', '.join(item.fields) or 'what no other importer knows'}")
    if item.or_fields:
        click.echo(f"or by      {', '.join(item.or_fields)}")
    click.echo(f"force it   tofu-eval score FILE --input-format {item.name} --output …")
