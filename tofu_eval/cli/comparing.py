"""How a comparison is made: the options of every command that makes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _margins(
    _context: click.Context, _parameter: click.Parameter, given: Sequence[str]
) -> dict[str, float]:
    return parse_margins(given)


_OPTIONS = (
    click.option("--cluster", metavar="FIELD", help="Prompts with the same FIELD belong together."),
    click.option(
        "--margin",
        "margins",
        multiple=True,
        metavar="METRIC=X",
        callback=_margins,
        help="A difference of at most X counts as none; for the verdict 'equivalent', 'no loss'.",
    ),
    click.option(
        "--responses",
        type=click.IntRange(min=2),
        metavar="N",
        help="Compare at N responses a prompt. Default: the smaller number of the two models.",
    ),
    click.option(
        "--min-responses",
        type=click.IntRange(min=2),
        default=2,
        show_default=True,
        help="Leave out prompts with fewer responses of one side.",
    ),
)


def comparing_options(command: Decorated) -> Decorated:
    """Add them; the command gets `cluster`, `margins`, `responses` and `min_responses`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def parse_margins(given: Sequence[str]) -> dict[str, float]:
    """`accuracy=0.01`, a margin a metric.

    Raises:
        ConfigError: a text of another form.
    """
    from math import isfinite

    from tofu_eval.core.errors import ConfigError

    margins: dict[str, float] = {}
    for text in given:
        metric, _, amount = text.rpartition("=")  # a metric's condition may hold a "="
        try:
            margins[metric] = float(amount)
        except ValueError:
            margins[metric] = 0.0
        if not metric or not isfinite(margins[metric]) or margins[metric] <= 0:
            raise ConfigError(
                f"--margin takes METRIC=X with a number above 0, got '{text}'. "
                "Example: --margin accuracy=0.01"
            )
    return margins
