"""`tofu-eval similarity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tofu_eval.pipeline.similarity import Similarity


@click.command("similarity")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--embedding-model", metavar="MODEL", help="Default: the run's.")
@click.option("--device", help="cpu, cuda, cuda:1, mps. Default: the best there is.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
def command(
    run: Path, tasks: tuple[str, ...], embedding_model: str | None, device: str | None, format_: str
) -> None:
    """How alike the responses of each two models are, and of each model with itself.

    Mean cosine of the embeddings of two responses to the same prompt; 1 = the same meaning. Models
    of one origin that answer alike narrow what their users read together.
    """
    from tofu_eval.cli.console import progress
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.features.open import open_feature
    from tofu_eval.features.settings import stored_settings
    from tofu_eval.pipeline.similarity import similarities
    from tofu_eval.run.store import Run

    settings = Run.open(run).manifest.get("settings") or {}
    named = {"model": embedding_model} if embedding_model else settings.get("embedding", {})
    embedder = open_feature("embedding", stored_settings({"embedding": named, "device": device}))
    with Run.writing(run) as opened, progress(False) as report:
        rows = similarities(opened, embedder, tasks, seed=settings.get("seed", 0), report=report)
    if not rows:
        raise ConfigError(f"{run} has no responses. Make some: tofu-eval run --output {run}")
    _print(rows, format_)


def _print(found: list[Similarity], format_: str) -> None:
    import csv
    import json
    import sys

    from tofu_eval.cli.console import print_table

    head = ["task", "model", "other", "similarity", "low", "high", "prompts"]
    rows = [
        [s.task, s.model, s.other, s.interval.value, s.interval.low, s.interval.high, s.interval.n]
        for s in found
    ]
    if format_ == "json":
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=2))
    elif format_ == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([head, *rows])
    else:
        shown = [["–" if x is None else f"{x:.4f}" if isinstance(x, float) else str(x) for x in row]
                 for row in rows]  # fmt: skip
        print_table(head, shown)
