"""`tofu-eval overused`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.pipeline.overused import Overuse


@click.command("overused")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--baseline", metavar="MODEL", help="The reference. Default: the first model.")
@click.option(
    "--reference",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Texts as the reference instead: responses of people or of another model, in any format.",
)
@click.option("--model", "models", multiple=True, help="Only these models.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option(
    "--top", type=click.IntRange(min=1), default=20, show_default=True, help="Phrases of a model."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
def command(
    run: Path,
    baseline: str | None,
    reference: Path | None,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    top: int,
    format_: str,
) -> None:
    """Words and phrases that stand in more of a model's responses than in its base's.

    \b
    tofu-eval overused runs/y --baseline base
    tofu-eval overused runs/y --model sft --reference people.jsonl

    A share is the mean over prompts of the share of responses that have the phrase. What is listed
    is clear over prompts, after Holm's adjustment over all phrases.
    """
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.pipeline.overused import find_overuse
    from tofu_eval.run.store import Run

    if baseline and reference:
        raise ConfigError("--baseline and --reference are both what to compare with. Give one.")
    found = find_overuse(
        Run.open(run), baseline=baseline, reference=reference, models=models, tasks=tasks
    )
    if not found:
        raise ConfigError(f"{run} has no responses. Make some: tofu-eval run --output {run}")
    _print(found, top, format_)


def _print(found: list[Overuse], top: int, format_: str) -> None:
    import csv
    import json
    import sys

    from tofu_eval.cli.console import print_table
    from tofu_eval.core.escape import printable, spreadsheet_value

    head = ["task", "model", "phrase", "share", "reference", "prompts", "p"]
    rows: list[list[object]] = [
        [r.task, r.model, r.phrase, r.share, r.reference, r.prompts, r.p]
        for one in found
        for r in one.phrases[:top]
    ]
    if format_ == "json":
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=2))
        return
    if format_ == "csv":
        table: list[list[object]] = [list(head), *rows]
        cells = [[spreadsheet_value(cell) for cell in row] for row in table]
        csv.writer(sys.stdout, lineterminator="\n").writerows(cells)
        return
    for one in found:
        prompts = "the same prompts" if one.same_prompts else "other prompts, whose topics show"
        title = f"{one.model} on {one.task}, {one.prompts} prompts, against {one.against}"
        click.echo(printable(f"{title} ({prompts})"))
        if not one.phrases:
            click.echo("  nothing is clearly overused\n")
            continue
        shown = [
            [r.phrase, f"{r.share:.1%}", f"{r.reference:.1%}", str(r.prompts), f"{r.p:.2g}"]
            for r in one.phrases[:top]
        ]
        print_table(["phrase", "share", "reference", "prompts", "p"], shown)
        if len(one.phrases) > top:
            click.echo(f"and {len(one.phrases) - top} more: --top {len(one.phrases)}")
        click.echo()
