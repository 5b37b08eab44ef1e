"""`tofu-eval train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tofu_eval.cli.option_values import given_values, names

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--model", metavar="REF", help="The base: a directory, a Hub id or BASE+ADAPTER."),
    click.option(
        "--data",
        multiple=True,
        metavar="FILE_OR_ID",
        help="JSONL, Parquet or a Hub data set (@revision); repeatable, each with a weight at "
        "will: FILE=0.5 takes a half of its rows.",
    ),
    click.option(
        "--config",
        "configs",
        multiple=True,
        metavar="FILE_OR_NAME",
        help="YAML with these settings and any of TRL's SFTConfig, or the recipe 'paper'; "
        "repeatable, later ones and flags win.",
    ),
    click.option(
        "--format",
        help="base, sft, chat or a .jinja file; saved with the checkpoint. Default: chat for "
        "conversations on a model with a chat template, else sft",
    ),
    click.option(
        "--learn",
        type=click.Choice(["all", "last"]),
        help="All turns of the assistant, or the last of each conversation. Default: all",
    ),
    click.option("--gamma", type=float, help="γ of focal, tofu or lambda-pr."),
    click.option("--beta", type=float, help="β of tofu or gem."),
    click.option("--lora-r", type=int, metavar="R", help="Train a LoRA adapter of rank R."),
    click.option(
        "--quantize",
        type=click.Choice(["none", "nf4"]),
        help="Base weights in 4 bits, for LoRA on a CUDA GPU.",
    ),
    click.option("--epochs", "num_train_epochs", type=float, help="Passes over the data."),
    click.option("--lr", "learning_rate", type=float, help="Peak learning rate."),
    click.option(
        "--batch-size",
        "per_device_train_batch_size",
        type=int,
        help="Rows a step and device, before gradient accumulation.",
    ),
    click.option("--max-length", type=int, help="Longest row in tokens; the rest is cut."),
    click.option("--packing/--no-packing", default=None, help="Several rows in one sequence."),
    click.option("--trust-remote-code", is_flag=True, default=None, help="Run the model's code."),
)


def training_options(command: Command) -> Command:
    """Add what `train` and `sweep` share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def loss_names(text: str) -> list[str]:
    """The losses of A,B,…; a Python file among them is run, and has one."""
    from tofu_eval.training.losses import LOSSES

    return [LOSSES.only_in_file(name) if name.endswith(".py") else name for name in names(text)]


def training_fields(configs: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Config files and flags as one mapping; flags win.

    Where a flag names another loss than a config file, those of the file's loss settings stay that
    the other has, too: `--config paper --loss focal` keeps γ = 3.
    """
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.training.settings import read_configs

    fields = read_configs(configs)
    asked = given_values(**options)
    if "data" in asked:
        asked["data"] = [_parse_source(text) for text in asked["data"]]
    if str(asked.get("loss")).endswith(".py"):
        asked["loss"] = loss_names(asked["loss"])[0]
    loss_settings = {name: asked.pop(name) for name in ("gamma", "beta") if name in asked}
    kept = fields.get("loss_settings") or {}
    if not isinstance(kept, dict):
        raise ConfigError(f"loss_settings should be a mapping such as {{gamma: 3}}, got {kept!r}.")
    if kept and asked.get("loss") not in (None, fields.get("loss")):
        require_training()
        from tofu_eval.training.losses import LOSSES

        takes = LOSSES.get(asked["loss"]).settings()
        kept = {name: value for name, value in kept.items() if name in takes}
    if kept or loss_settings:
        fields["loss_settings"] = {**kept, **loss_settings}
    else:
        fields.pop("loss_settings", None)
    if "lora_r" in asked:
        rank = asked.pop("lora_r")
        lora = fields.get("lora") or {}
        if not isinstance(lora, dict):
            raise ConfigError(f"lora should be a mapping such as {{r: 16}}, got {lora!r}.")
        fields["lora"] = {**lora, "r": rank}
    return fields | asked


def _parse_source(text: str) -> dict[str, Any]:
    """A data set, and the weight behind its name where there is one."""
    path, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return {"path": text}
    try:
        return {"path": path, "weight": float(weight)}
    except ValueError:
        return {"path": text}


def require_training() -> None:
    """Say which package is missing before anything is read."""
    from tofu_eval.core.errors import MissingDependencyError

    try:
        import tofu_eval.training.job  # noqa: F401
    except ModuleNotFoundError as error:
        package = (error.name or "trl").partition(".")[0]
        raise MissingDependencyError.of("Training", package, "train") from error


@click.command("train")
@training_options
@click.option("--loss", help="Default: tofu. List all: tofu-eval losses list")
@click.option("--seed", type=int, help="Of order, dropout and LoRA's first weights.")
@click.option("--output", type=click.Path(path_type=Path), help="Where the checkpoint goes.")
@click.option("--watch", metavar="TASK", help="Measure the diversity on a task while it trains.")
@click.option("--watch-every", type=int, metavar="N", help="Optimiser steps between. Default: 100")
@click.option("--watch-metric", "watch_metrics", multiple=True, help="What is measured.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint there.")
def command(configs: tuple[str, ...], resume: bool, **options: Any) -> None:
    """Fine-tune a model with any registered loss, on TRL's SFTTrainer.

    A row of the data is a prompt and its completion (TRL's formats). The prompt format is saved
    beside the checkpoint, and `tofu-eval run` asks in it.

    \b
    tofu-eval train --model BASE --data rows.jsonl --loss tofu --output checkpoints/tofu
    """
    from tofu_eval.cli.console import note, print_table, progress
    from tofu_eval.cli.heartbeat import is_first_process
    from tofu_eval.training.settings import train_settings

    fields = training_fields(configs, options)
    settings = train_settings(fields)
    require_training()
    from tofu_eval.training.job import train

    with progress() as report:
        result = train(settings, resume=resume, report=report)
    if not is_first_process():
        return
    for text in result.notes:
        note(text)
    shown = ("loss", "cross_entropy", "mean_weight", "entropy", "mean_token_accuracy")
    rows = [
        [name, f"{value:.4g}"] for name in shown if (value := result.final.get(name)) is not None
    ]
    print_table(["last logged", "per token"], rows)
    click.echo(f"{result.steps} steps. Checkpoint: {result.path}")
