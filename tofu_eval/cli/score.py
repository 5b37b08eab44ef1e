"""`tofu-eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.options import baseline_option, given_values, output_option, scoring_options


@click.command("score")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE...")
@output_option
@baseline_option
@scoring_options
def command(
    files: tuple[str, ...],
    output: Path | None,
    baseline: str | None,
    log_json: bool,
    **options: Any,
) -> None:
    """Score responses that you already have, from JSONL or Parquet; no model is needed.

    A row is a prompt with all its responses or one response:

    \b
    {"prompt": "Name a fruit.", "responses": ["apple", "pear"]}   (or "generations")
    {"prompt": "Name a fruit.", "response": "apple"}              (or "generation")

    "id" may stand beside or instead of "prompt"; "model" names the model where one file holds
    several. Otherwise NAME=FILE does, or the file's own name. "references" (a list of texts),
    "logprob" and "finish_reason" are read too, for the metrics that need them.
    """
    from tofu_eval.cli.compare import print_run
    from tofu_eval.cli.console import progress
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.pipeline import evaluate as pipeline

    if output is None:
        raise ConfigError("No run directory. Name one: --output runs/y")
    with progress(log_json) as report:
        result = pipeline.score_files(
            [_named(text) for text in files], output, report=report, **given_values(**options)
        )
    print_run(result, baseline)


def _named(text: str) -> tuple[str | None, Path]:
    name, equals, file = text.partition("=")
    return (None, Path(text)) if not equals or _exists(text) else (name, Path(file))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # longer than the system allows
        return False
