"""Rows as token ids, put to the model in the same words in which it will be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tofu_eval.core.errors import DataError, ModelError
from tofu_eval.engines.prompts import Encoder
from tofu_eval.importers.training_rows import IGNORE, Example, Place, PlainText, Row, Tokens
from tofu_eval.tasks.formats import Format
from tofu_eval.training.answers import Answer, AnswerWriter

Learn = Literal["all", "last"]


@dataclass
class Tokenized:
    """Columns of a data set as TRL takes it, and what the user should know about it.

    `cut` and `lost` name rows that are longer than may be, `put_after` and `parted` count rows:
    those whose chat template writes the prompt differently once an answer follows, and those of
    which each answer became a row of its own, because the model is asked for it in other words.
    `unused` names fields that the template has no place for.
    """

    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {"input_ids": [], "labels": [], "row": []}
    )
    cut: list[Place] = field(default_factory=list)
    lost: list[Place] = field(default_factory=list)
    put_after: int = 0
    parted: int = 0
    unused: set[str] = field(default_factory=set)


def tokenize(
    rows: Sequence[Row],
    format: Format,
    encoder: Encoder,
    *,
    max_length: int | None,
    learn: Learn = "all",
    everything: bool = False,
    whole_dialogues: bool = False,
    keep_end: bool = False,
    date: str = "",
) -> Tokenized:
    """Token ids and labels; each prompt's ids are exactly those that `tofu-eval run` would send.

    A conversation is one row as long as what was said so far is what the next prompt begins with;
    where a chat template writes it differently, the next answer begins a row of its own.

    Args:
        rows: the data.
        format: how a prompt is put to the model.
        encoder: what tokenizes for the model.
        max_length: tokens a row; what is beyond is cut off by TRL. None is no limit.
        learn: all turns of the assistant that are to be learnt, or the last of them.
        everything: learns the prompts too.
        whole_dialogues: learns all that is said in conversations of which no part is a prompt.
        keep_end: whether TRL cuts a row's beginning off, not its end.
        date: what a chat template that reads the clock is told, ISO.
    Returns: the columns `input_ids`, `labels` (-100 where not learnt) and `row`; rows of which
        nothing would be left to learn are left out.

    Raises:
        ModelError: the tokenizer has no end token, or no chat template for the format `chat`.
        DataError: the format has no place for something that a row says.
    """
    if encoder.tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer has no end-of-sequence token, so no answer could end. "
            "Set tokenizer.eos_token and save the tokenizer."
        )
    if format.name == "chat" and encoder.template is None and _has_chats(rows):
        raise ModelError(
            "The tokenizer has no chat template, which the format 'chat' needs. "
            "Use --format base or --format sft."
        )
    made = Tokenized()
    writer = AnswerWriter(encoder, format, date, made.unused)
    for row in rows:
        parts = list(_parts(row, writer, made, last=learn == "last"))
        made.parted += len(parts) > 1
        for ids, labels in parts:
            if everything or (whole_dialogues and isinstance(row, Example) and row.is_dialogue):
                labels = list(ids)
            _add(made, row.row, ids, labels, max_length, keep_end)
    return made


def _has_chats(rows: Sequence[Row]) -> bool:
    return any(isinstance(row, Example) for row in rows)


def _add(
    made: Tokenized,
    row: Place,
    ids: list[int],
    labels: list[int],
    max_length: int | None,
    keep_end: bool,
) -> None:
    if max_length is not None and len(ids) > max_length:
        kept = labels[-max_length:] if keep_end else labels[:max_length]
        if all(label == IGNORE for label in kept):
            made.lost.append(row)
            return
        made.cut.append(row)
    for name, value in (("input_ids", ids), ("labels", labels), ("row", row)):
        made.columns[name].append(value)


def _parts(
    row: Row, writer: AnswerWriter, made: Tokenized, *, last: bool
) -> Iterator[tuple[list[int], list[int]]]:
    """The ids and labels of a row, in as many parts as it takes."""
    if isinstance(row, PlainText):
        ids = _closed_text(row, writer.encoder)
        yield ids, list(ids)
    elif isinstance(row, Tokens):
        _check_ids(row, writer.encoder)
        yield list(row.ids), list(row.labels)
    else:
        answers = list(writer.answers(row, last=last))
        made.put_after += any(answer.is_put_after for answer in answers)
        yield from _joined(answers)


def _joined(answers: Sequence[Answer]) -> Iterator[tuple[list[int], list[int]]]:
    """Answers one behind another, as long as each prompt begins with all that was said before."""
    ids: list[int] = []
    labels: list[int] = []
    for answer in answers:
        if ids and answer.prompt[: len(ids)] != ids:
            yield ids, labels
            ids, labels = [], []
        asked = answer.prompt[len(ids) :]
        learnt = [
            id if keep else IGNORE for id, keep in zip(answer.ids, answer.learnt, strict=True)
        ]
        ids = [*ids, *asked, *answer.ids]
        labels = [*labels, *[IGNORE] * len(asked), *learnt]
    if ids:
        yield ids, labels


def _closed_text(row: PlainText, encoder: Encoder) -> list[int]:
    """A text with the tokenizer's beginning, and an end, as TRL has it."""
    tokenizer = encoder.tokenizer
    ids: list[int] = tokenizer(row.text, verbose=False).input_ids
    return ids if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def _check_ids(row: Tokens, encoder: Encoder) -> None:
    if max(row.ids) >= encoder.vocabulary:
        raise DataError(
            f"Row {row.row} of the data has the token {max(row.ids)}, and the model knows "
            f"{encoder.vocabulary}. Tokenize it with the model's own tokenizer."
        )
