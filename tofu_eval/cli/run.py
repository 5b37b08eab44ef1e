"""`tofu-eval run`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tofu_eval.cli.grouped_help import ENGINE, MODELS, OUTPUT, SAMPLING, TASKS, option
from tofu_eval.cli.option_values import (
    arguments,
    formats_by_model,
    given_values,
    merge_settings,
    split_names,
)
from tofu_eval.cli.options import (
    Command,
    asking_options,
    baseline_option,
    data_dir_option,
    decoding_options,
    human_option,
    only_option,
    output_option,
    scoring_options,
    temperature_option,
)

if TYPE_CHECKING:
    from tofu_eval.core.types import ModelSpec, Task


@click.command("run", cls=Command)
@option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=REF",
    heading=MODELS,
    help="A local directory, a Hub id (@revision) or BASE+ADAPTER; repeat for each model.",
)
@option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    heading=TASKS,
    help="A task's name or file; repeatable.",
)
@option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    heading=TASKS,
    help="All tasks of a suite: tasks suites.",
)
@data_dir_option
@human_option
@output_option
@only_option
@baseline_option
@option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    heading=OUTPUT,
    help="YAML file with the same settings; flags win over it.",
)
@option("--samples", type=int, heading=SAMPLING, help="Responses a prompt. Default: the task's.")
@temperature_option
@option(
    "--top-p",
    type=float,
    heading=SAMPLING,
    help="Nucleus size in (0, 1]. Default: the task's.",
)
@option(
    "--max-tokens",
    type=int,
    heading=SAMPLING,
    help="Longest response in tokens. Default: the task's.",
)
@decoding_options
@option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    rare=True,
    heading=SAMPLING,
    help="How each model is asked, beside plain: again, paraphrase, variety, verbalized, or a "
    "Python file with one; repeatable, each a model of its own. Default: plain",
)
@option(
    "--format",
    "formats",
    multiple=True,
    metavar="[MODEL=]FORMAT",
    heading=SAMPLING,
    help="Prompt format: base, sft, chat, paper, paper-math or a .jinja file; for all models or "
    "for one.",
)
@asking_options
@option(
    "--engine",
    heading=ENGINE,
    help="transformers, vllm, openai, ray. Default: vllm where there is a GPU for it, else "
    "transformers.",
)
@option(
    "--engine-arg",
    "engine_args",
    multiple=True,
    metavar="NAME=VALUE",
    rare=True,
    heading=ENGINE,
    help="An argument for the engine, such as tensor_parallel_size=2; repeatable.",
)
@option(
    "--base-url",
    "base_urls",
    multiple=True,
    metavar="[MODEL=]URL",
    heading=ENGINE,
    help="Where the server of --engine openai is; for all models or for one.",
)
@option("--batch-size", type=int, heading=ENGINE, help="Responses made at once. Default: 128")
@option("--dtype", rare=True, heading=ENGINE, help="auto, float32, bfloat16 or float16.")
@option(
    "--trust-remote-code",
    is_flag=True,
    default=None,
    rare=True,
    heading=ENGINE,
    help="Run code from the model.",
)
@scoring_options
@option(
    "--dry-run",
    is_flag=True,
    help="Say what there is to make, and what it costs; no model is opened.",
)
@option(
    "--price-in",
    type=click.FloatRange(min=0),
    metavar="X",
    help="With --dry-run: of 1 million tokens read.",
)
@option(
    "--price-out",
    type=click.FloatRange(min=0),
    metavar="X",
    help="With --dry-run: of 1 million tokens made.",
)
def command(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    suites: tuple[str, ...],
    output: Path | None,
    only: bool,
    baseline: str | None,
    config_file: Path | None,
    formats: tuple[str, ...],
    engine_args: tuple[str, ...],
    base_urls: tuple[str, ...],
    log_json: bool,
    dry_run: bool,
    price_in: float | None,
    price_out: float | None,
    **options: Any,
) -> None:
    """Generate with models on tasks, score, estimate, and write the leaderboard.

    The same command again finishes what is left. Models and tasks may be added to a run.

    \b
    tofu-eval run --model base=BASE --model sft=SFT --model tofu=BASE+ADAPTER \\
        --task open-prompts --output runs/x
    """
    from tofu_eval.cli.compare import print_run
    from tofu_eval.cli.console import progress
    from tofu_eval.cli.dry_run import check_prices, print_workload
    from tofu_eval.core.config import RunFile
    from tofu_eval.core.errors import ConfigError
    from tofu_eval.core.models import parse_model
    from tofu_eval.features.settings import read_run_file, read_settings
    from tofu_eval.pipeline import evaluate as pipeline
    from tofu_eval.pipeline.temperatures import variants_of
    from tofu_eval.pipeline.workload import find_workload
    from tofu_eval.tasks import load_suite

    check_prices(dry_run, price_in, price_out)
    file = read_run_file(config_file) if config_file else RunFile()
    specs = {name: _spec(name, ref) for name, ref in file.models.items()}
    if models:
        specs = split_names([parse_model(text) for text in models])
    output = output or file.output
    if output is None:
        raise ConfigError("No run directory. Name one: --output runs/x")
    fields = file.model_dump(exclude_unset=True, exclude={"models", "tasks", "suites", "output"})
    fields = merge_settings(fields, given_values(**options))
    asking: dict[str, Any] = {
        name: fields[name] for name in ("temperature", "methods") if name in fields
    }
    read = read_settings(asking)
    sweep = read.sweep
    if baseline is not None:
        variants = variants_of(specs, sweep, read.methods)
        _check_baseline(baseline, [variant.name for variant in variants], output)
    if isinstance(file.format, dict):  # the flags may have left out a model of the file's
        gone = file.models.keys() - specs.keys()
        fields["format"] = {name: f for name, f in file.format.items() if name not in gone}
    if formats:
        fields["format"] = formats_by_model(formats)
    if engine_args:
        fields["engine_args"] = {
            **file.engine_args,
            **(arguments("--engine-arg", engine_args) or {}),
        }
    if base_urls:
        fields["base_url"] = _base_urls(base_urls, specs)
    if not tasks and not suites:
        tasks, suites = file.tasks, file.suites
    asked: list[str | Path | Task] = [*tasks, *chain.from_iterable(map(load_suite, suites))]
    if dry_run:
        work = find_workload(specs, asked, output, only=only, **fields)
        print_workload(work, price_in, price_out)
        return
    with progress(log_json) as report:
        result = pipeline.evaluate(specs, asked, output, only=only, report=report, **fields)
    print_run(result, baseline)
    if sweep or len(read.methods) > 1:
        click.echo(f"Frontier:    tofu-eval frontier {output} --quality METRIC --diversity METRIC")


def _spec(name: str, ref: str) -> ModelSpec:
    """A model of the config file, whose name stands apart from its reference."""
    from tofu_eval.core.models import parse_model
    from tofu_eval.core.names import check_name

    return replace(parse_model(ref), name=check_name("model", name))


def _check_baseline(baseline: str, models: list[str], output: Path) -> None:
    """Refuse a baseline that the run will not have, before hours of generation."""
    from tofu_eval.core.errors import StoreError, UnknownNameError
    from tofu_eval.run.store import Run

    if baseline in models:
        return
    choices = [*models]
    with suppress(StoreError):  # no run yet
        choices += Run.open(output).manifest["models"]
    if baseline not in choices:
        raise UnknownNameError.of("model", baseline, choices, "tofu-eval run --help")


def _base_urls(texts: tuple[str, ...], models: dict[str, ModelSpec]) -> str | dict[str, str]:
    from tofu_eval.core.errors import ConfigError

    pairs = [text.partition("=") for text in texts]
    named = {name: url for name, equals, url in pairs if equals and name in models}
    if len(named) == len(texts):
        return named
    if len(texts) == 1:
        return texts[0]
    raise ConfigError(
        f"--base-url got {' and '.join(texts)}: give one for all models, or MODEL=URL each."
    )
