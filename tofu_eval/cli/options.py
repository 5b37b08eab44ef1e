"""Options that `run` and `score` share; those of features come from the features themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click

from tofu_eval.cli.grouped_help import (
    ENGINE,
    MODELS,
    OUTPUT,
    SAMPLING,
    SCORING,
    TASKS,
    Option,
    help_all_option,
    option,
    write_groups,
)
from tofu_eval.cli.option_values import APART, Temperatures, arguments, pairs

if TYPE_CHECKING:
    from tofu_eval.core.sections import Setting

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Command(click.Command):
    """A command that scores: with the options of all features, and `--help` in groups."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, and those of the features that are known by now."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_feature_options(), help_option, help_all_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a Python file of metrics is run first, since it may bring options."""
        for file in _metric_files(args):
            from tofu_eval.metrics.base import METRICS

            METRICS.in_file(file)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups; rare ones and those of features only with --help-all."""
        write_groups(ctx, formatter, self.get_params(ctx))
        for broken in _broken_features():
            formatter.write_paragraph()
            formatter.write_text(broken)


def _metric_files(args: Sequence[str]) -> Iterator[str]:
    """The Python files that a command line names as metrics."""
    for i, text in enumerate(args):
        option, equals, value = text.partition("=")
        value = value if equals else args[i + 1] if i + 1 < len(args) else ""
        if option == "--metric" and value.endswith(".py"):
            yield value


def _feature_options() -> list[click.Parameter]:
    from tofu_eval.core.sections import settings_of, title_of
    from tofu_eval.features.base import sections

    return [_option_of(one, title_of(kind)) for kind in sections() for one in settings_of(kind)]


def _broken_features() -> list[str]:
    """Why the options of a feature are missing."""
    from tofu_eval.features.base import FEATURES

    return [f"{e.name} is broken: {e.error}" for e in FEATURES.entries() if e.error is not None]


def _option_of(one: Setting, heading: str) -> Option:
    """The option of a setting, of the type that its annotation says."""
    kind = next((k for k in get_args(one.kind) if k is not NoneType), one.kind)
    kind = one.kind if get_origin(one.kind) in (Literal, Mapping) else kind
    facts: dict[str, Any] = {"type": kind}
    flag = one.flag
    if get_origin(kind) is Literal:
        facts = {"type": click.Choice(list(map(str, get_args(kind))))}
    elif kind is bool:
        flag, facts = f"{flag}/--no-{flag.removeprefix('--')}", {"default": None}
    elif kind not in (int, float, str):  # a mapping
        facts = {"multiple": True, "callback": partial(_read_arguments, flag)}
    default = "" if one.default is None else f" Default: {one.default}"
    name = f"{one.section}{APART}{one.name}"
    return Option(
        [flag, name], heading=heading, metavar=one.metavar, help=f"{one.help}{default}", **facts
    )


def option_of(section: type, name: str, **changes: Any) -> Callable[[Decorated], Decorated]:
    """Add the option of one setting of a section to a command; `changes` are of click's."""
    from tofu_eval.core.sections import settings_of, title_of

    (one,) = (setting for setting in settings_of(section) if setting.name == name)
    option = _option_of(one, title_of(section))
    for fact, value in changes.items():
        setattr(option, fact, value)

    def add(command: Decorated) -> Decorated:
        vars(command).setdefault("__click_params__", []).append(option)
        return command

    return add


def _read_arguments(
    flag: str, _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Any] | None:
    return arguments(flag, texts)


_SCORING = (
    option(
        "--metric",
        "metrics",
        multiple=True,
        heading=SCORING,
        help="Only these metrics: names, or Python files with metrics. List all: tofu-eval "
        "metrics list",
    ),
    option(
        "--tokenizer",
        type=click.Choice(["auto", "published", "char"]),
        rare=True,
        heading=SCORING,
        help="What the metrics over words count: each its own words, and characters in scripts "
        "without spaces (auto); its published words alone; characters. Default: auto",
    ),
    option(
        "--unfinished",
        type=click.Choice(["keep", "drop"]),
        rare=True,
        heading=SCORING,
        help="Whether responses that stopped at the length limit are scored. Default: keep",
    ),
    option(
        "--reasoning",
        type=click.Choice(["strip", "keep"]),
        rare=True,
        heading=SCORING,
        help="Whether thoughts (<think>…</think>) are scored with the answer. Default: strip",
    ),
    option(
        "--reasoning-tags",
        multiple=True,
        metavar="OPEN,CLOSE",
        rare=True,
        heading=SCORING,
        help="How thoughts begin and end, beside the usual ways; repeatable.",
    ),
    option(
        "--truncate",
        type=int,
        metavar="WORDS",
        rare=True,
        heading=SCORING,
        help="Compute what length moves on responses truncated to this many words; shorter ones "
        "are left out there.",
    ),
    option("--limit", type=int, heading=TASKS, help="Only the first N prompts of each task."),
    option(
        "--seed",
        type=int,
        heading=OUTPUT,
        help="Seed of sampling and of the bootstrap. Default: 0",
    ),
    option(
        "--workers", type=int, rare=True, heading=SCORING, help="Processes that score. Default: 1"
    ),
    option(
        "--scoring",
        type=click.Choice(["here", "ray"]),
        rare=True,
        heading=SCORING,
        help="Where features and scores are made; ray is actors, on a cluster too. Default: here",
    ),
    option(
        "--scoring-arg",
        "scoring_args",
        multiple=True,
        rare=True,
        heading=SCORING,
        metavar="NAME=VALUE",
        callback=lambda context, parameter, texts: arguments("--scoring-arg", texts),
        help="Of --scoring ray: actors, num_cpus, num_gpus, address. May be repeated.",
    ),
    option(
        "--device",
        rare=True,
        heading=ENGINE,
        help="cpu, cuda, cuda:1, mps. Default: the best there is.",
    ),
    option(
        "--isolate/--no-isolate",
        default=None,
        rare=True,
        heading=ENGINE,
        help="Give each model a process of its own. Default: where there is an accelerator",
    ),
    option(
        "--log-json", is_flag=True, rare=True, help="Progress as a JSON object a line, on stderr."
    ),
)

_ASKING = (
    option(
        "--system",
        metavar="TEXT",
        heading=SAMPLING,
        help="What the model is told before each prompt.",
    ),
    option(
        "--chat-template-kwarg",
        "chat_template_kwargs",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, texts: pairs("--chat-template-kwarg", texts),
        rare=True,
        heading=SAMPLING,
        help="What the chat template is given, such as enable_thinking=false; repeatable.",
    ),
    option(
        "--reasoning-effort",
        metavar="WORD",
        rare=True,
        heading=SAMPLING,
        help="How long a model thinks, in its own words.",
    ),
)

_DECODING = (
    option(
        "--top-k",
        type=int,
        rare=True,
        heading=SAMPLING,
        help="Only the K most probable tokens. Default: all",
    ),
    option(
        "--min-p",
        type=float,
        rare=True,
        heading=SAMPLING,
        help="Only tokens at least P times the most probable one.",
    ),
    option(
        "--repetition-penalty",
        type=float,
        rare=True,
        heading=SAMPLING,
        help="Above 1 makes repetitions rarer.",
    ),
    option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        rare=True,
        heading=SAMPLING,
        help="End a response before this text; repeatable.",
    ),
    option(
        "--seeds",
        type=click.Choice(["row", "run"]),
        rare=True,
        heading=ENGINE,
        help="run: requests without seeds of their own (vllm, openai); faster, and not to be made "
        "again alike.",
    ),
    option(
        "--token-logprobs",
        is_flag=True,
        default=None,
        rare=True,
        heading=SAMPLING,
        help="Keep the log-probability of each generated token, for token_entropy and others.",
    ),
    option(
        "--extra-body",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, texts: pairs("--extra-body", texts),
        rare=True,
        heading=ENGINE,
        help="What else stands in each request to a server; repeatable.",
    ),
    option(
        "--quantize",
        type=click.Choice(["nf4"]),
        rare=True,
        heading=ENGINE,
        help="Load the weights in 4 bits.",
    ),
    option(
        "--max-failed",
        type=float,
        metavar="SHARE",
        rare=True,
        heading=ENGINE,
        help="The share of a model's responses that may fail; filtered ones have not failed. "
        "Default: 0.05",
    ),
    option(
        "--too-long",
        type=click.Choice(["fail", "skip"]),
        rare=True,
        heading=ENGINE,
        help="What becomes of a prompt that leaves no room for its response. Default: fail",
    ),
)

only_option = option(
    "--only",
    is_flag=True,
    rare=True,
    heading=SCORING,
    help="Drop the metrics that the run has and that are not named here.",
)

output_option = option(
    "--output",
    type=click.Path(path_type=Path),
    heading=OUTPUT,
    help="The run directory; an existing one goes on.",
)

temperature_option = option(
    "--temperature",
    type=Temperatures(),
    heading=SAMPLING,
    help="Default: the task's. 0 is greedy. Several (0.3,0.7,1.0) are a sweep: each model at each.",
)

human_option = option(
    "--human",
    type=click.Path(path_type=Path),
    metavar="FILE",
    rare=True,
    heading=MODELS,
    help="Answers of people to the same prompts: they are shown beside the models, as 'human'.",
)

data_dir_option = option(
    "--data-dir",
    type=click.Path(path_type=Path),
    rare=True,
    heading=TASKS,
    help="Where the tasks' data is: TASK.jsonl, TASK.parquet or OWNER__NAME/. Default: download.",
)

baseline_option = option(
    "--baseline",
    metavar="MODEL",
    heading=MODELS,
    help="Compare with this model in the table at the end. Default: the first.",
)


def scoring_options(command: Decorated) -> Decorated:
    """Add what concerns scoring, but for the options of features."""
    for add in reversed(_SCORING):
        command = add(command)
    return command


def asking_options(command: Decorated) -> Decorated:
    """Add what shapes a prompt."""
    for add in reversed(_ASKING):
        command = add(command)
    return command


def decoding_options(command: Decorated) -> Decorated:
    """Add what shapes responses, beside the temperature, and what may fail."""
    for add in reversed(_DECODING):
        command = add(command)
    return command
