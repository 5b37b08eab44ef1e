"""`tofu-eval engines`."""

from __future__ import annotations

import click


@click.group("engines")
def command() -> None:
    """List engines."""


@command.command("list")
def list_() -> None:
    """Every engine that `tofu-eval run --engine` takes."""
    from tofu_eval.cli.console import note
    from tofu_eval.engines.open import ENGINES

    for entry in ENGINES.entries():
        if entry.item is None:
            note(f"{entry.name} is broken: {entry.error}")
        else:
            click.echo(entry.name)
