"""`tofu-eval calibrate-reward`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.option_values import given_values
from tofu_eval.cli.options import option_of
from tofu_eval.features.reward import RewardSettings


@click.command("calibrate-reward")
@click.argument("responses", type=click.Path(path_type=Path), metavar="RUN|FILE")
@option_of(RewardSettings, "model", required=True)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="The YAML file to write."
)
@option_of(RewardSettings, "engine")
@option_of(RewardSettings, "base_url")
@click.option("--device", help="cpu, cuda, cuda:1, mps. Default: the best there is.")
@click.option("--log-json", is_flag=True, help="Progress as a JSON object a line, on stderr.")
def command(responses: Path, output: Path, log_json: bool, **options: Any) -> None:
    """Find what a reward model's rewards are worth, from 1 to 10.

    RUN|FILE holds at least 100 responses like those to be scored: a run directory, or JSONL or
    Parquet as for `score`. A tenth of them gets each number of points.

    \b
    tofu-eval calibrate-reward runs/x --reward-model REWARD --output calibration.yaml
    tofu-eval score base.jsonl --output runs/y --metric utility_k \\
        --reward-model REWARD --reward-calibration calibration.yaml
    """
    from tofu_eval.cli.console import progress
    from tofu_eval.core.escape import printable
    from tofu_eval.pipeline.calibrate_reward import calibrate_reward

    with progress(log_json) as report:
        calibration = calibrate_reward(responses, output, report=report, **given_values(**options))
    click.echo("points  raw reward")
    ends = [None, *calibration.thresholds, None]
    for points, (low, high) in enumerate(pairwise(ends), start=1):
        left = "" if low is None else f"above {low:g}"
        right = "" if high is None else f"up to {high:g}"
        click.echo(f"{points:6}  {' '.join(part for part in (left, right) if part)}")
    click.echo(printable(f"{output} is for {calibration.signature.rpartition(':')[0]} alone."))
