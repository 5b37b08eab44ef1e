"""`--help` in groups: what is used often; `--help-all` has the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import click

MODELS = "Models"
TASKS = "Tasks"
FILES = "Files"
SAMPLING = "Sampling"
ENGINE = "Engine"
SCORING = "Scoring"
OUTPUT = "Output"

HEADINGS = (MODELS, TASKS, FILES, SAMPLING, ENGINE, SCORING, OUTPUT)
"""The groups, in the order in which they are shown; those of features stand after them."""

_ALL = "tofu_eval.help_all"


class Option(click.Option):
    """An option that stands under a heading; a `rare` one only in `--help-all`."""

    def __init__(
        self, *declarations: Any, heading: str = OUTPUT, rare: bool = False, **told: Any
    ) -> None:
        super().__init__(*declarations, **told)
        self.heading, self.rare = heading, rare


option = partial(click.option, cls=Option)


def help_all_option() -> Option:
    """`--help-all`."""
    return Option(
        ["--help-all"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_all,
        help="Show all options.",
    )


def _show_all(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.meta[_ALL] = True
        click.echo(context.get_help(), color=context.color)
        context.exit()


def write_groups(
    context: click.Context, formatter: click.HelpFormatter, parameters: Iterable[click.Parameter]
) -> None:
    """Write the options that are asked for, group by group, and name what is left out."""
    everything = context.meta.get(_ALL, False)
    groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
    rare, features = 0, dict[str, list[str]]()
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is None or not isinstance(parameter, click.Option):
            continue
        heading = getattr(parameter, "heading", OUTPUT)
        if everything or (heading in HEADINGS and not getattr(parameter, "rare", False)):
            groups.setdefault(heading, []).append(record)
        elif heading in HEADINGS:
            rare += 1
        else:
            features.setdefault(heading, []).append(parameter.opts[0])
    for heading, records in groups.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
    if rare or features:
        formatter.write_paragraph()
        formatter.write_text(_left_out(rare, features))


def _left_out(rare: int, features: Mapping[str, Sequence[str]]) -> str:
    """`--help-all shows 20 more of these, and those of what scores: --judge-*, --nli-model, …`"""
    text = f"--help-all shows {rare} more of these" if rare else "--help-all shows the options"
    if not features:
        return f"{text}."
    flags = ", ".join(_flags_of(flags) for flags in features.values())
    joint = ", and those" if rare else ""
    return f"{text}{joint} of what scores: {flags}."


def _flags_of(flags: Sequence[str]) -> str:
    """One flag, or what several begin with: `--judge-*`."""
    if len(flags) == 1:
        return flags[0]
    words = [flag.split("-") for flag in flags]
    shared = next(
        (i for i, those in enumerate(zip(*words, strict=False)) if len(set(those)) > 1), 3
    )
    start = "-".join(words[0][:shared])
    return f"{start}-*" if len(start) > 2 else " ".join(flags)
