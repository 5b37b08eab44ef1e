"""What a training reads, in which words it is put to the model, and what the user should know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tofu_eval.core.bounded import read_bounded
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import ResolvedModel
from tofu_eval.engines.prompts import Encoder
from tofu_eval.importers.training_rows import Examples, Place, load_examples, load_mixture
from tofu_eval.tasks.formats import Format, load_format
from tofu_eval.training.settings import TrainSettings
from tofu_eval.training.tokenize import Tokenized, tokenize

TEMPLATES = ("chat_template.jinja", "chat_template.json")


def load_training_rows(settings: TrainSettings, seed: int) -> Examples:
    """The rows to train on.

    Raises:
        TofuEvalError: as `load_examples`.
    """
    return load_mixture([(source.path, source.weight) for source in settings.data], seed)


def load_held_out(given: str | Mapping[str, str] | None) -> dict[str, Examples]:
    """The evaluation sets by name; one alone has none.

    Raises:
        TofuEvalError: as `load_examples`.
    """
    named = {} if given is None else {"": given} if isinstance(given, str) else dict(given)
    return {name: load_examples(source) for name, source in named.items()}


def choose_format(
    settings: TrainSettings, examples: Examples, resolved: ResolvedModel, template: str | None
) -> Format:
    """The prompt format that the user names; else the model's own for conversations.

    Args:
        settings: the user's.
        examples: the rows.
        resolved: the model.
        template: a file with another chat template, where the user gives one.

    Raises:
        ConfigError: there is no such format.
    """
    if settings.format is not None:
        return load_format(settings.format)
    has_template = template is not None or _has_chat_template(resolved.tokenizer)
    return load_format("chat" if examples.chats and has_template else "sft")


def encoder_of(name: str, model: Any, tokenizer: Any) -> Encoder:
    """What tokenizes as `tofu-eval run` does; how long a row may be, the training says.

    Args:
        name: what messages call the model.
        model: a causal language model, with an adapter or without.
        tokenizer: its own.
    """
    rows = len(model.get_input_embeddings().weight)
    made = Encoder.of(name, tokenizer, model.config, model.generation_config, rows)
    return replace(made, context=None)


def tokenize_rows(
    examples: Examples,
    settings: TrainSettings,
    format: Format,
    encoder: Encoder,
    args: Any,
    date: str,
) -> Tokenized:
    """Rows as token ids, as settings and TRL's arguments ask for them.

    Raises:
        ConfigError: nothing would be learnt.
        TofuEvalError: as `tokenize`.
    """
    tokenized = tokenize(
        examples.rows,
        format,
        encoder,
        # These two strategies of packing split long rows instead of cutting them.
        max_length=None if args.packing and args.packing_strategy != "bfd" else args.max_length,
        learn=settings.learn,
        everything=args.completion_only_loss is False,
        whole_dialogues=settings.sft.get("assistant_only_loss") is False,
        keep_end=args.truncation_mode == "keep_end",
        date=date,
    )
    if not tokenized.columns["row"]:
        raise ConfigError(
            f"All {len(examples.rows)} prompts are longer than max_length={args.max_length}, "
            "so nothing would be learnt. Use a larger --max-length."
        )
    return tokenized


def check_positions(tokenized: Tokenized, model: Any, max_length: int | None) -> None:
    """Refuse rows that are longer than what the model has positions for.

    Raises:
        ConfigError: there is one.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, tokenized.columns["input_ids"]))
    if positions is not None and min(longest, max_length or longest) > positions:
        row = max(
            zip(tokenized.columns["input_ids"], tokenized.columns["row"], strict=True),
            key=lambda pair: len(pair[0]),
        )[1]
        raise ConfigError(
            f"Row {row} of the data has {longest} tokens, and the model has {positions} positions. "
            f"Use --max-length {positions}, or less."
        )


def describe_inputs(
    examples: Examples, tokenized: Tokenized, settings: TrainSettings, format: Format, args: Any
) -> list[str]:
    """What the user should know about the data."""
    total = len(examples.rows) + examples.dropped.total()
    notes = [
        f"{count} of {total} rows are left out: {reason}."
        for reason, count in examples.dropped.items()
    ]
    if settings.format is None and format.name == "chat":
        notes.append(
            "The data are conversations, and the model has a chat template: it is trained in that "
            "(--format chat). In plain words: --format sft"
        )
    if unused := sorted(examples.unused | tokenized.unused):
        notes.append(f"Not used of the data: {', '.join(unused)}.")
    if tokenized.lost:
        notes.append(
            f"{len(tokenized.lost)} of {total} rows are left out: their prompts alone reach "
            f"max_length={args.max_length} (row {_some(tokenized.lost)})."
        )
    if tokenized.cut:
        what = "beginnings" if args.truncation_mode == "keep_end" else "ends"
        notes.append(
            f"{len(tokenized.cut)} of {total} rows are longer than max_length={args.max_length} "
            f"and are cut, so their {what} are not learnt (row {_some(tokenized.cut)})."
        )
    if tokenized.parted:
        notes.append(
            f"{tokenized.parted} of {total} conversations are learnt an answer a row, because the "
            "model is asked for their answers in other words than follow one another."
        )
    if tokenized.put_after:
        notes.append(
            f"The chat template writes {tokenized.put_after} of {total} prompts differently once "
            "an answer follows; the answer was put after the prompt as it will be asked."
        )
    return notes


def _has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in TEMPLATES):
        return True
    try:
        config = json.loads(read_bounded(folder / "tokenizer_config.json"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


def _some(rows: list[Place]) -> str:
    return ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
