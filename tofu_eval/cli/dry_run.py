"""`tofu-eval run --dry-run`: what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tofu_eval.cli.console import print_table, workload_text

if TYPE_CHECKING:
    from tofu_eval.pipeline.workload import Workload


def check_prices(dry_run: bool, *prices: float | None) -> None:
    """Refuse prices that are none, or that nothing is done with.

    Raises:
        ConfigError: so.
    """
    from math import isfinite

    from tofu_eval.core.errors import ConfigError

    given = [price for price in prices if price is not None]
    if given and not dry_run:
        raise ConfigError("--price-in and --price-out say what --dry-run would cost. Add --dry-run")
    for price in given:
        if not isfinite(price) or price < 0:
            raise ConfigError(
                f"A price of a million tokens must be a number of at least 0, got {price:g}. "
                "Example: --price-in 0.5 --price-out 1.5"
            )


def print_workload(work: Workload, price_in: float | None, price_out: float | None) -> None:
    """A row a model and task, the totals of what is left, and what it costs."""
    header = ["model", "task", "prompts", "responses", "there", "to read", "to make"]
    rows = [
        [
            part.model,
            part.task,
            *(f"{n:,}" for n in (part.prompts, part.responses, part.done)),
            f"{round(part.reads * part.left):,}",
            f"{round(part.makes * part.left):,}",
        ]
        for part in work.parts
    ]
    print_table(header, rows)
    if not work.responses:
        click.echo("\nNothing is left to make.")
        return
    click.echo(f"\n{workload_text(work)}")
    click.echo(
        f"Prompts to read: about {work.reads:,} tokens, at 4 bytes each. What judges, reward "
        "models and encoders read is not counted."
    )
    if price_in is not None or price_out is not None:
        read, made = work.price(price_in or 0.0, 0.0), work.price(0.0, price_out or 0.0)
        click.echo(
            f"Price: at most {read + made:,.2f} ({read:,.2f} to read, {made:,.2f} to make), in the "
            "money of --price-in and --price-out."
        )
