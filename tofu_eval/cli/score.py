"""`tofu-eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.grouped_help import FILES, option
from tofu_eval.cli.option_values import given_values
from tofu_eval.cli.options import (
    Command,
    baseline_option,
    human_option,
    only_option,
    output_option,
    scoring_options,
)


@click.command("score", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE...")
@output_option
@option("--task", default="responses", heading=FILES, help="The task's name. Default: responses")
@option(
    "--input-format",
    metavar="NAME",
    heading=FILES,
    help="How to read all files. Default: told by their fields. List: tofu-eval importers list",
)
@option("--prompt-field", metavar="FIELD", heading=FILES, help="The field that has the prompt.")
@option(
    "--response-field",
    "response_fields",
    multiple=True,
    metavar="FIELD",
    heading=FILES,
    help="The field that has the response or responses; repeated, a model each.",
)
@option(
    "--id-field",
    metavar="FIELD",
    rare=True,
    heading=FILES,
    help="The field that has the prompt's id.",
)
@option("--model-field", metavar="FIELD", heading=FILES, help="The field that names the model.")
@option(
    "--cluster",
    metavar="FIELD",
    rare=True,
    heading=FILES,
    help="Prompts with the same FIELD belong together, also in the table at the end.",
)
@option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    rare=True,
    heading=FILES,
    help="Where the prompts stand, by id, where they are not in the files.",
)
@human_option
@only_option
@baseline_option
@scoring_options
def command(
    files: tuple[str, ...],
    output: Path | None,
    task: str,
    input_format: str | None,
    prompt_field: str | None,
    response_fields: tuple[str, ...],
    id_field: str | None,
    model_field: str | None,
    cluster: str | None,
    prompts: Path | None,
    human: Path | None,
    only: bool,
    baseline: str | None,
    log_json: bool,
    **options: Any,
) -> None:
    """Score responses that you already have; no model is needed.

    FILE is JSONL, JSON, CSV, Parquet or Arrow, packed or not, a directory of such files, or - for
    standard input. The formats of other tools are told by their fields: tofu-eval importers list.
    What no tool wrote is a row a prompt, or a row a response:

    \b
    {"prompt": "Name a fruit.", "responses": ["apple", "pear"]}   (or "generations", …)
    {"prompt": "Name a fruit.", "response": "apple"}              (or "completion", "output", …)

    "id" may stand beside or instead of "prompt"; "model" names the model where one file holds
    several. Otherwise NAME=FILE does, or the file's own name. "references" (a list of texts),
    "logprob", "finish_reason" and "correct" are read too, for the metrics that need them.
    """
    from tofu_eval.cli.compare import print_run
    from tofu_eval.cli.console import progress
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.importers.base import Options
    from tofu_eval.pipeline import evaluate as pipeline

    if output is None:
        raise ConfigError("No run directory. Name one: --output runs/y")
    source = Options(
        prompt=prompt_field,
        responses=response_fields,
        id=id_field,
        model=model_field,
        prompts=prompts,
        format=_importer_name(input_format),
        cluster=cluster,
    )
    with progress(log_json) as report:
        result = pipeline.score_files(
            [_split_name(text) for text in files],
            output,
            task=task,
            source=source,
            human=human,
            only=only,
            report=report,
            **given_values(**options),
        )
    print_run(result, baseline, cluster=cluster)


def _split_name(text: str) -> tuple[str | None, Path]:
    name, equals, file = text.partition("=")
    return (None, Path(text)) if not equals or _exists(text) else (name, Path(file))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # longer than the system allows
        return False


def _importer_name(format: str | None) -> str | None:
    """The importer that --input-format names; a Python file is run, and has one."""
    if format is None or not format.endswith(".py"):
        return format
    from tofu_eval.importers import IMPORTERS

    return IMPORTERS.only_in_file(format)
