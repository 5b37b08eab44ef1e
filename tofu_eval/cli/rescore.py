"""`tofu-eval rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.grouped_help import SCORING, option
from tofu_eval.cli.option_values import given_values
from tofu_eval.cli.options import Command, baseline_option, only_option, scoring_options


@click.command("rescore", cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@only_option
@baseline_option
@scoring_options
@option(
    "--trust-remote-code",
    is_flag=True,
    default=None,
    rare=True,
    heading=SCORING,
    help="Run code from a judge's model; a run does not hand that on.",
)
def command(run: Path, only: bool, baseline: str | None, log_json: bool, **options: Any) -> None:
    """Add metrics to a run, from the responses that it holds; no model is asked again.

    \b
    tofu-eval rescore runs/y --metric vendi --metric self_bleu

    Whatever is not said is as the run was scored before. Without --metric, what the run has is
    made anew under the options that are given, such as --unfinished drop.
    """
    from tofu_eval.cli.compare import print_run
    from tofu_eval.cli.console import progress
    from tofu_eval.pipeline.evaluate import result_of
    from tofu_eval.pipeline.rescore import rescore

    with progress(log_json) as report:
        scored = rescore(run, only=only, report=report, **given_values(**options))
    print_run(result_of(scored), baseline)
