"""Conversations: Hugging Face's `messages`, and ShareGPT's `conversations`.

Tool: data sets for TRL, axolotl, LLaMA-Factory and others, and what is generated into them.
Version: none; the forms of TRL's data set guide and of ShareGPT.
Fields: `messages[].role` and `.content`; `conversations[].from` and `.value`; `model`.
Source: huggingface.co/docs/trl/dataset_formats; the data sets called sharegpt.

The last turn is the response where it is the assistant's; all before is the prompt, by which rows
belong together: an `id` numbers the conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tofu_eval.importers.base import (
    File,
    Record,
    Row,
    RowError,
    importer,
    metadata_in,
)
from tofu_eval.importers.chat import is_answered, is_chat, split_chat


@importer(
    "messages",
    title="conversations (messages)",
    fields=("messages",),
    matches=lambda row: is_answered(row["messages"]),
    columns=("messages", "model"),
)
def messages(file: File) -> Iterator[Record]:
    """A row a conversation, of which the last message is the response."""
    return _read(file, "messages")


@importer(
    "sharegpt",
    title="conversations (ShareGPT)",
    fields=("conversations",),
    matches=lambda row: is_chat(row["conversations"]),
    columns=("conversations", "model"),
)
def sharegpt(file: File) -> Iterator[Record]:
    """A row a conversation, of which the last turn is the response."""
    return _read(file, "conversations")


def _read(file: File, name: str) -> Iterator[Record]:
    for row in file.rows():
        yield _record(row, name, metadata_in(file, row))


def _record(row: Row, name: str, metadata: Mapping[str, str]) -> Record:
    before, answer = split_chat(row.get(name), name)
    if not before:
        raise RowError(f"'{name}' must have a message before the assistant's, got none")
    return Record([answer], prompt=before, model=row.get("model"), metadata=metadata)
