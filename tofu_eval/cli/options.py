"""Options that `run` and `score` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from tofu_eval.config import EMBEDDING_MODEL, NLI_MODEL, Equivalence

Command = TypeVar("Command", bound=Callable[..., Any])

_SCORING = (
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        help="Only these metrics. List all: tofu-eval metrics list",
    ),
    click.option(
        "--truncate",
        type=int,
        metavar="WORDS",
        help="Compute what length moves on responses cut to this many words; shorter ones are "
        "left out there.",
    ),
    click.option("--workers", type=int, help="Processes that score. Default: 1"),
    click.option(
        "--embedding-model",
        metavar="MODEL",
        help=f"sentence-transformers directory or Hub id. Default: {EMBEDDING_MODEL}",
    ),
    click.option(
        "--reward-model",
        metavar="MODEL",
        help="Sequence-classification model with one output, for the metric 'reward'.",
    ),
    click.option(
        "--embedding-engine",
        help="sentence-transformers, vllm, or openai (a server). Default: sentence-transformers",
    ),
    click.option("--embedding-base-url", metavar="URL", help="Where that server is."),
    click.option(
        "--reward-engine",
        help="transformers, vllm, or openai (a server of vLLM's). Default: transformers",
    ),
    click.option("--reward-base-url", metavar="URL", help="Where that server is."),
    click.option(
        "--equivalence",
        type=click.Choice(get_args(Equivalence)),
        help="How it is decided which responses are equivalent. Default: novelty-bench-1.0",
    ),
    click.option(
        "--equivalence-model",
        metavar="MODEL",
        help="Classifier of pairs. Default: NoveltyBench's.",
    ),
    click.option(
        "--equivalence-threshold",
        type=float,
        help="For word-overlap, embedding and classifier. Default: 0.5, 0.85, 0.102",
    ),
    click.option("--judge-model", metavar="MODEL", help="Chat model for --equivalence judge."),
    click.option("--nli-model", metavar="MODEL", help=f"For the nli metrics. Default: {NLI_MODEL}"),
    click.option("--limit", type=int, help="Only the first N prompts of each task."),
    click.option("--seed", type=int, help="Seed of sampling and of the bootstrap. Default: 0"),
    click.option("--log-json", is_flag=True, help="Progress as a JSON object a line, on stderr."),
    click.option(
        "--isolate/--no-isolate",
        default=None,
        help="Give each model a process of its own. Default: where there is an accelerator",
    ),
    click.option("--device", help="cpu, cuda, cuda:1, mps. Default: the best there is."),
)

output_option = click.option(
    "--output", type=click.Path(path_type=Path), help="The run directory; an existing one goes on."
)

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where the tasks' data is: TASK.jsonl, TASK.parquet or OWNER__NAME/. Default: download.",
)

baseline_option = click.option(
    "--baseline",
    metavar="MODEL",
    help="Compare with this model in the table at the end. Default: the first.",
)


def scoring_options(command: Command) -> Command:
    """Add what concerns scoring."""
    for option in reversed(_SCORING):
        command = option(command)
    return command


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave: not None, not an empty tuple."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def names(text: str) -> list[str]:
    """The parts of `a,b,c`."""
    return [part.strip() for part in text.split(",") if part.strip()]
