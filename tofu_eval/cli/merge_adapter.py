"""`tofu-eval merge-adapter`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("merge-adapter")
@click.argument("model", metavar="BASE+ADAPTER")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A new directory.")
@click.option("--dtype", help="auto (the base's own), float32, bfloat16, float16. Default: auto")
@click.option("--trust-remote-code", is_flag=True, help="Run the model's code.")
def command(model: str, output: Path, dtype: str | None, trust_remote_code: bool) -> None:
    """Add an adapter into its base's weights and save the whole model.

    \b
    tofu-eval merge-adapter models/base+checkpoints/tofu --output models/tofu
    """
    from tofu_eval.cli.train import require_training

    require_training()
    from tofu_eval.training.merge_adapter import merge_adapter

    merge_adapter(model, output, dtype=dtype, trust_remote_code=trust_remote_code)
    click.echo(f"Merged: {output}")
