"""`tofu-eval sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.option_values import given_values
from tofu_eval.cli.options import data_dir_option, scoring_options, temperature_option
from tofu_eval.cli.train import loss_names, require_training, training_fields, training_options

TRAINING = (
    *(
        "model",
        "data",
        "format",
        "learn",
        "gamma",
        "beta",
        "lora_r",
        "quantize",
        "num_train_epochs",
    ),
    *("learning_rate", "per_device_train_batch_size", "max_length", "packing"),
)
"""The options that are the trainings'; the others are the run's."""


@click.command("sweep")
@click.option("--loss", "losses", required=True, metavar="A,B,…", help="Losses to compare.")
@click.option("--seeds", type=int, default=1, show_default=True, help="Trainings a loss.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Trainings at a time.")
@click.option(
    "--task", "tasks", multiple=True, required=True, metavar="NAME", help="As in `tofu-eval run`."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Where all goes.")
@click.option("--samples", type=int, help="Responses a prompt. Default: the task's.")
@temperature_option
@click.option("--top-p", type=float, help="Nucleus size in (0, 1]. Default: the task's.")
@click.option("--max-tokens", type=int, help="Longest response in tokens. Default: the task's.")
@data_dir_option
@training_options
@scoring_options
def command(
    losses: str,
    seeds: int,
    jobs: int,
    tasks: tuple[str, ...],
    output: Path,
    configs: tuple[str, ...],
    log_json: bool,
    **options: Any,
) -> None:
    """Train a base with several losses and seeds, and compare them all in one run.

    --seed is the first training seed (else a config file's, else 0), and the seed of sampling.
    The same command again goes on where it stopped.

    \b
    tofu-eval sweep --model BASE --data rows.jsonl --loss ce,focal,gem,tofu --seeds 3 \\
        --task open-prompts --output runs/sweep
    """
    from tofu_eval.cli.compare import print_run
    from tofu_eval.cli.console import print_table, progress
    from tofu_eval.core.errors import ConfigError

    require_training()
    from tofu_eval.pipeline.temperatures import name_at
    from tofu_eval.training.sweep import BASE, grid, summarise_seeds, sweep

    if seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {seeds}.")
    shared = {name: options.pop(name) for name in TRAINING}
    if options["trust_remote_code"]:
        shared["trust_remote_code"] = True
    fields = training_fields(configs, shared)
    first = fields.get("seed", 0) if options["seed"] is None else options["seed"]
    trainings = grid(fields, loss_names(losses), range(first, first + seeds), output)
    with progress(log_json) as report:
        result = sweep(
            trainings, tasks, output, jobs=jobs, report=report, **given_values(**options)
        )
    swept = options["temperature"] if isinstance(options["temperature"], tuple) else None
    print_run(result, name_at(BASE, swept[0]) if swept else BASE)
    if seeds > 1:
        rows = [
            [row.task, row.metric, row.loss, _spread(row.mean, row.low, row.high)]
            for row in sorted(
                summarise_seeds(result, trainings, swept), key=lambda r: (r.task, r.metric)
            )
        ]
        click.echo()
        print_table(
            ["task", "metric", "loss", "mean (least–greatest)"], rows, f"Over {seeds} seeds"
        )


def _spread(mean: float | None, low: float | None, high: float | None) -> str:
    return "–" if mean is None else f"{mean:.4g} ({low:.4g}–{high:.4g})"
