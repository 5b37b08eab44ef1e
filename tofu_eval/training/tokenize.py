"""Rows as token ids, put to the model in the same words in which it will be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tofu_eval.core.errors import DataError, ModelError
from tofu_eval.core.types import Prompt
from tofu_eval.importers.training_rows import Example
from tofu_eval.tasks.formats import Format, render

IGNORE = -100

BATCH = 1000
"""Rows that are tokenized together."""


@dataclass
class Tokenized:
    """Columns of a data set as TRL takes it, and what the user should know about it."""

    columns: dict[str, list[Any]]
    cut: list[int]
    lost: list[int]
    apart: int


def tokenize(
    examples: Sequence[Example],
    format: Format,
    tokenizer: Any,
    *,
    max_length: int | None,
    completion_only: bool = True,
) -> Tokenized:
    """Token ids and labels; the prompt's ids are exactly those that `tofu-eval run` would send.

    Args:
        examples: the rows.
        format: how a prompt is put to the model.
        tokenizer: a Hugging Face tokenizer.
        max_length: tokens a row; what is beyond is cut off by TRL. None is no limit.
        completion_only: False learns the prompts too.
    Returns: the columns `input_ids`, `labels` (-100 where not learnt) and `row`; rows that will be
        cut, rows of which nothing would be left to learn (and which are left out), and the number
        of rows whose chat template writes the prompt differently once an answer follows.

    Raises:
        ModelError: the tokenizer has no end token, or no chat template for the format `chat`.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer has no end-of-sequence token, so no answer could end. "
            "Set tokenizer.eos_token and save the tokenizer."
        )
    tokenized = Tokenized({"input_ids": [], "labels": [], "row": []}, [], [], 0)
    for batch in _batches(examples):
        pairs = [_texts(e, format, tokenizer) for e in batch]
        special = format.name != "chat"  # a chat template writes the special tokens itself
        prompts = _ids(tokenizer, [prompt for prompt, _ in pairs], special)
        wholes = _ids(tokenizer, [whole for _, whole in pairs], special)
        alone = _ids(tokenizer, [format.complete(e.completion) for e in batch], False)
        for e, prompt, whole, completion in zip(batch, prompts, wholes, alone, strict=True):
            prompt = _open(prompt, tokenizer)
            if whole[: len(prompt)] == prompt:
                completion = whole[len(prompt) :]
            else:
                tokenized.apart += format.name == "chat"
            if tokenizer.eos_token_id not in completion[-2:]:  # a template may end in a newline
                completion = [*completion, tokenizer.eos_token_id]
            learnt = prompt if not completion_only else [IGNORE] * len(prompt)
            ids, labels = [*prompt, *completion], [*learnt, *completion]
            if max_length is not None and len(ids) > max_length:
                if all(label == IGNORE for label in labels[:max_length]):
                    tokenized.lost.append(e.row)
                    continue
                tokenized.cut.append(e.row)
            for name, value in (("input_ids", ids), ("labels", labels), ("row", e.row)):
                tokenized.columns[name].append(value)
    return tokenized


def _batches(examples: Sequence[Example]) -> Iterator[list[Example]]:
    left = iter(examples)
    while batch := list(islice(left, BATCH)):
        yield batch


def _texts(example: Example, format: Format, tokenizer: Any) -> tuple[str, str]:
    """The prompt as text, and the prompt with its answer."""
    text, messages = render(Prompt(f"row {example.row}", example.messages), format)
    if messages is None:
        return text or "", f"{text}{format.complete(example.completion)}"
    if tokenizer.chat_template is None:
        raise ModelError(
            "The tokenizer has no chat template, which the format 'chat' needs. "
            "Use --format base or --format sft."
        )
    turns = [{"role": m.role, "content": m.content} for m in messages]
    answer = {"role": "assistant", "content": example.completion}
    try:
        return (
            tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False),
            tokenizer.apply_chat_template([*turns, answer], tokenize=False),
        )
    except Exception as error:  # a template may fail in any way
        raise DataError(
            f"The chat template refuses row {example.row} of the data: {error}. "
            "Use --format base or --format sft, or mend that row."
        ) from error


def _ids(tokenizer: Any, texts: list[str], special: bool) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
    return ids


def _open(ids: list[int], tokenizer: Any) -> list[int]:
    """As the engine does: some tokenizers close every text; an empty prompt needs a beginning."""
    if ids and ids[-1] == tokenizer.eos_token_id and ids != [tokenizer.bos_token_id]:
        ids = ids[:-1]
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    return ids
