"""`tofu-eval verifiers`."""

from __future__ import annotations

import inspect

import click


@click.group("verifiers")
def command() -> None:
    """List what checks answers."""


@command.command("list")
def list_() -> None:
    """Every verifier that `--verifier` takes, with what it does."""
    from tofu_eval.cli.console import note
    from tofu_eval.features.answers import VERIFIERS

    for entry in VERIFIERS.entries():
        if entry.item is None:
            note(f"{entry.name} is broken: {entry.error}")
        else:
            about = (inspect.getdoc(entry.item.find) or "").partition("\n")[0]
            click.echo(f"{entry.item.signature}  {about}".rstrip())
