"""`tofu-eval losses`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry
    from tofu_eval.training.losses import Loss


@click.group("losses")
def command() -> None:
    """List and show training losses."""


@command.command("list")
def list_() -> None:
    """Every loss: its settings with their defaults, and its paper."""
    from tofu_eval.cli.console import note, print_table

    rows, broken = [], []
    for entry in _losses().entries():
        if entry.item is None:
            broken.append(f"{entry.name} is broken: {entry.error}")
        else:
            settings = ", ".join(f"{k}={v:g}" for k, v in entry.item.settings().items())
            rows.append([entry.name, settings, entry.item.paper])
    print_table(["loss", "settings", "paper"], rows)
    for line in broken:
        note(line)


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """All that there is to know about one loss."""
    losses = _losses()
    loss = losses.get(losses.only_in_file(name) if name.endswith(".py") else name)
    click.echo(f"{loss.name}\n\n{inspect.getdoc(loss.factory)}\n\npaper  {loss.paper or 'none'}")


def _losses() -> Registry[Loss]:
    from tofu_eval.core.errors import MissingDependencyError

    try:
        from tofu_eval.training.losses import LOSSES
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("Training", error.name or "torch", "hf") from error
    return LOSSES
