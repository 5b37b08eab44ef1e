"""`tofu-eval methods`."""

from __future__ import annotations

import click


@click.group("methods")
def command() -> None:
    """List decoding methods, which need no training."""


@command.command("list")
def list_() -> None:
    """Every method that `tofu-eval run --method` takes, with what it does."""
    from tofu_eval.cli.console import note
    from tofu_eval.engines.methods.base import METHODS

    for entry in METHODS.entries():
        if entry.item is None:
            note(f"{entry.name} is broken: {entry.error}")
        else:
            paper = f" ({entry.item.paper})" if entry.item.paper else ""
            click.echo(f"{entry.name}  {entry.item.about}{paper}".rstrip())
