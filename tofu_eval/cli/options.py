"""Options that `run` and `score` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from tofu_eval.core.config import EMBEDDING_MODEL, NLI_MODEL, Equivalence, Tokenizer

if TYPE_CHECKING:
    from tofu_eval.core.types import ModelSpec


class Temperatures(click.ParamType):  # type: ignore[type-arg]  # generic from Click 8.4 on
    """One temperature, or several for a sweep: 0.7 or 0.3,0.7,1.0."""

    name = "T[,T…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, ...]:
        """A number for one, a tuple for several."""
        try:
            found = tuple(float(part) for part in names(str(value)))
        except ValueError:
            found = ()
        if not found:
            self.fail(f"got '{value}'. Write one number, or a sweep: 0.3,0.7,1.0", param, ctx)
        return found if "," in str(value) else found[0]


Command = TypeVar("Command", bound=Callable[..., Any])

_JUDGING = (
    click.option(
        "--judge-model",
        metavar="MODEL",
        help="Chat model, or judge of a package, that rates responses from 0 to 5; also for "
        "--equivalence judge.",
    ),
    click.option(
        "--judge-template",
        metavar="RUBRIC",
        help="instruction, story or a .jinja file. Default: instruction",
    ),
    click.option("--judge-repeats", type=int, help="Judgements of each response. Default: 1"),
    click.option(
        "--judge-temperature", type=float, help="Default: 0; 0.7 where judgements are repeated."
    ),
    click.option("--judge-max-tokens", type=int, help="Longest judgement. Default: 512"),
    click.option("--judge-format", help="chat or base (plain text). Default: chat"),
    click.option("--judge-engine", help="As --engine, for the judge. Default: that of the models"),
    click.option(
        "--judge-engine-arg",
        "judge_engine_args",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, texts: arguments("--judge-engine-arg", texts),
        help="An argument for the judge's engine; repeatable.",
    ),
    click.option("--judge-base-url", metavar="URL", help="Where the judge's server is."),
    click.option(
        "--harm-model",
        metavar="MODEL",
        help="Text classifier that says what is harmful. Default: the judge",
    ),
    click.option("--harm-label", help="Its label that means harm."),
    click.option("--harm-threshold", type=float, help="Least probability. Default: 0.5"),
    click.option(
        "--harm-input",
        help="response, pair (with the prompt) or chat: what it reads. Default: chat where it has "
        "a template, else response",
    ),
    click.option("--harm-template", metavar="RUBRIC", help="What the judge is asked about harm."),
)

_SCORING = (
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        help="Only these metrics. List all: tofu-eval metrics list",
    ),
    click.option(
        "--tokenizer",
        type=click.Choice(get_args(Tokenizer)),
        help="What the metrics over words count: each its own words, and characters in scripts "
        "without spaces (auto); its published words alone; characters. Default: auto",
    ),
    click.option(
        "--unfinished",
        type=click.Choice(["keep", "drop"]),
        help="Whether responses that stopped at the length limit are scored. Default: keep",
    ),
    click.option(
        "--reasoning",
        type=click.Choice(["strip", "keep"]),
        help="Whether thoughts (<think>…</think>) are scored with the answer. Default: strip",
    ),
    click.option(
        "--reasoning-tags",
        multiple=True,
        metavar="OPEN,CLOSE",
        help="How thoughts begin and end, beside the usual ways; repeatable.",
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
    click.option(
        "--reward-calibration",
        metavar="FILE|PRESET",
        help="What a reward is worth, for utility_k. Default: the preset of the reward model.",
    ),
    *_JUDGING,
    click.option("--nli-model", metavar="MODEL", help=f"For the nli metrics. Default: {NLI_MODEL}"),
    click.option(
        "--verifier",
        metavar="NAME",
        help="What checks answers: math, choice, text, …. Default: the task's own",
    ),
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

_ASKING = (
    click.option("--system", metavar="TEXT", help="What the model is told before each prompt."),
    click.option(
        "--chat-template-kwarg",
        "chat_template_kwargs",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, texts: pairs("--chat-template-kwarg", texts),
        help="What the chat template is given, such as enable_thinking=false; repeatable.",
    ),
    click.option(
        "--reasoning-effort", metavar="WORD", help="How long a model thinks, in its own words."
    ),
)

_DECODING = (
    click.option("--top-k", type=int, help="Only the K most probable tokens. Default: all"),
    click.option("--min-p", type=float, help="Only tokens at least P times the most probable one."),
    click.option("--repetition-penalty", type=float, help="Above 1 makes repetitions rarer."),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="End a response before this text; repeatable.",
    ),
    click.option(
        "--seeds",
        type=click.Choice(["row", "run"]),
        help="run: requests without seeds of their own (vllm, openai); faster, and not to be made "
        "again alike.",
    ),
    click.option(
        "--extra-body",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, texts: pairs("--extra-body", texts),
        help="What else stands in each request to a server; repeatable.",
    ),
    click.option("--quantize", type=click.Choice(["nf4"]), help="Load the weights in 4 bits."),
    click.option(
        "--max-failed",
        type=float,
        metavar="SHARE",
        help="The share of a model's responses that may fail. Default: 0.05",
    ),
    click.option(
        "--too-long",
        type=click.Choice(["fail", "skip"]),
        help="What becomes of a prompt that leaves no room for its response. Default: fail",
    ),
)

output_option = click.option(
    "--output", type=click.Path(path_type=Path), help="The run directory; an existing one goes on."
)

temperature_option = click.option(
    "--temperature",
    type=Temperatures(),
    help="Default: the task's. 0 is greedy. Several (0.3,0.7,1.0) are a sweep: each model at each.",
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


def asking_options(command: Command) -> Command:
    """Add what shapes a prompt."""
    for option in reversed(_ASKING):
        command = option(command)
    return command


def decoding_options(command: Command) -> Command:
    """Add what shapes responses, beside the temperature, and what may fail."""
    for option in reversed(_DECODING):
        command = option(command)
    return command


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, Any] | None:
    """NAME=VALUE pairs with the names as they stand; a value is read as YAML reads it."""
    import yaml

    from tofu_eval.core.errors import ConfigError

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{option} got '{text}'. Write NAME=VALUE.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{option} {text}: the value is not YAML.") from error
    return values or None


def arguments(option: str, texts: tuple[str, ...]) -> dict[str, Any] | None:
    """NAME=VALUE pairs; a value is read as YAML reads it, so 2 is a number and true a truth."""
    import yaml

    from tofu_eval.core.errors import ConfigError

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{option} {text}: the value is not YAML.") from error
        if not equals or not name.strip():
            raise ConfigError(f"{option} got '{text}'. Write NAME=VALUE.")
    return found or None


def given_values(**options: Any) -> dict[str, Any]:
    """The options that the user gave: not None, not an empty tuple."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def names(text: str) -> list[str]:
    """The parts of `a,b,c`."""
    return [part.strip() for part in text.split(",") if part.strip()]


def split_names(specs: list[ModelSpec]) -> dict[str, ModelSpec]:
    """The models by name; ConfigError for two of one name."""
    from tofu_eval.core.errors import ConfigError

    found = {spec.name: spec for spec in specs}
    if len(found) < len(specs):
        names = [spec.name for spec in specs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"Two models are called '{twice}'. Name them apart: --model NAME=REF")
    return found


def formats_by_model(formats: tuple[str, ...]) -> str | dict[str, str]:
    """The values of --format: one for all models, or one for each."""
    from tofu_eval.core.errors import ConfigError

    pairs = [text.partition("=") for text in formats]
    if len(pairs) == 1 and not pairs[0][1]:
        return formats[0]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigError(
            f"--format got {' and '.join(formats)}: give one for all models, or MODEL=FORMAT each."
        )
    names = [name for name, _, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--format names the model '{name}' twice. Give it one format.")
    return {model: format for model, _, format in pairs}
