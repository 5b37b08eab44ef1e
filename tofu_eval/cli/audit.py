"""`tofu-eval audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tofu_eval.cli.options import asking_options, data_dir_option


@click.command("audit")
@click.option("--model", "models", multiple=True, required=True, metavar="NAME=REF")
@click.option("--task", "tasks", multiple=True, required=True, metavar="NAME")
@click.option("--format", "formats", multiple=True, metavar="[MODEL=]FORMAT")
@asking_options
@click.option("--stop", multiple=True, metavar="TEXT", help="As for a run.")
@click.option("--max-tokens", type=int, help="Longest response, which shares the context.")
@data_dir_option
@click.option("--limit", type=int, help="Only the first N prompts of each task.")
@click.option("--first", type=int, default=2, show_default=True, help="Prompts a task to show.")
@click.option("--trust-remote-code", is_flag=True, help="Run code from the model.")
def command(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    formats: tuple[str, ...],
    max_tokens: int | None,
    data_dir: Path | None,
    limit: int | None,
    first: int,
    trust_remote_code: bool,
    system: str | None,
    chat_template_kwargs: dict[str, Any] | None,
    reasoning_effort: str | None,
    stop: tuple[str, ...],
) -> None:
    """Show what the prompts become, token by token, and what is wrong with them.

    Every prompt is looked at; no weights are loaded. Exit code 2 where something is fatal: a run
    would stop at it.
    """
    from tofu_eval.cli.console import note
    from tofu_eval.cli.option_values import formats_by_model, split_names
    from tofu_eval.core.errors import ModelError
    from tofu_eval.core.escape import printable
    from tofu_eval.core.models import parse_model
    from tofu_eval.features.settings import read_settings
    from tofu_eval.pipeline.audit import audit

    fields = {
        "max_tokens": max_tokens,
        "limit": limit,
        "data_dir": data_dir,
        "trust_remote_code": trust_remote_code,
        "system": system,
        "chat_template_kwargs": chat_template_kwargs,
        "reasoning_effort": reasoning_effort,
        "stop": stop or None,
    }
    if formats:
        fields["format"] = formats_by_model(formats)
    chosen = read_settings({name: value for name, value in fields.items() if value is not None})
    seen = audit(split_names([parse_model(text) for text in models]), tasks, chosen, first=first)
    for model, task, prompt, ids, tokens in seen.samples:
        click.echo(printable(f"{model}, {task}, prompt {prompt}: {len(ids)} tokens"))
        pairs = (f"{id}={token!r}" for id, token in zip(ids, tokens, strict=True))
        click.echo(f"  {printable(' '.join(pairs))}")
    for remark in seen.remarks:
        note(remark)
    if seen.fatal:
        raise ModelError(" And: ".join(f"{line}." for line in seen.fatal))
    click.echo(f"{len(seen.remarks)} remarks, nothing fatal.")
