"""Which rows are of the same prompt: by their ids, or else by their texts.

White space is no difference, in ids or in texts. Where one file has ids and another has none, the
texts say which prompts are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tofu_eval.core.types import Message, Prompt, digest
from tofu_eval.importers.base import Record, RowError, kind_of

ID_LENGTH = 12
"""Characters of the id of a prompt that has none."""

TextKey = str | tuple[tuple[str, str], ...]


class Prompts:
    """All prompts of a call, in the order in which they came."""

    def __init__(self, known: Iterable[Prompt] = ()) -> None:
        self.by_id: dict[str, Prompt] = {prompt.id: prompt for prompt in known}
        self._by_text: dict[TextKey, str] = {}
        self._unsettled: set[tuple[str, str]] = set()
        for prompt in self.by_id.values():
            if key := text_key(prompt.messages):
                self._by_text.setdefault(key, prompt.id)

    def id_of(self, record: Record, names: FileNames) -> str:
        """The prompt's id, after the prompt has been taken in.

        Args:
            record: what a file says.
            names: what the same file has called its prompts so far.

        Raises:
            RowError: two prompts have one id, or a prompt has two lists of references.
        """
        messages = _messages_of(record)
        key = text_key(messages)
        name = None if record.id is None else name_of(record.id)
        if name is None or record.by_text:
            id = self._by_text.get(key) if key else None
            if id is None:
                free = name is not None and name not in self.by_id
                id = name if name is not None and free else _made_id(messages)
        else:
            id = self._id_of_name(name, key, names)
        self._take(id, messages, key, tuple(record.references))
        if record.metadata:
            self._take_metadata(id, record.metadata)
        return id

    def _id_of_name(self, name: str, key: TextKey, names: FileNames) -> str:
        if name in names.ids:
            return names.ids[name]
        id = name
        if key and name not in self.by_id:
            # A file without ids may have brought the prompt; of several names, the first has it.
            same = self._by_text.get(key)
            if same is not None and same not in names.taken and self._is_nameless(same):
                id = same
                names.taken.add(same)
        names.ids[name] = id
        return id

    def _is_nameless(self, id: str) -> bool:
        return id == _made_id(self.by_id[id].messages)

    def _take(
        self, id: str, messages: tuple[Message, ...], key: TextKey, references: tuple[str, ...]
    ) -> None:
        earlier = self.by_id.get(id)
        if earlier is None:
            self.by_id[id] = Prompt(id, messages, references)
            if key:
                self._by_text.setdefault(key, id)
            return
        if key:
            before = text_key(earlier.messages)
            if not before:
                earlier = self.by_id[id] = replace(earlier, messages=messages)
            elif before != key:
                raise RowError(
                    f"prompt '{id}' had another text before; ids must be unique, and stand for "
                    "the same text in all files"
                )
            self._by_text.setdefault(key, id)
        if references and not earlier.references:
            self.by_id[id] = replace(earlier, references=references)
        elif references and references != earlier.references:
            raise RowError(f"prompt '{id}' had other references before")

    def _take_metadata(self, id: str, metadata: Mapping[str, str]) -> None:
        """Keep what is said of a prompt; a field with two values says nothing of it."""
        merged = dict(self.by_id[id].metadata)
        for name, value in metadata.items():
            if merged.get(name, value) != value:
                self._unsettled.add((id, name))
            merged[name] = value
            if (id, name) in self._unsettled:
                del merged[name]
        if merged != self.by_id[id].metadata:
            self.by_id[id] = replace(self.by_id[id], metadata=merged)


@dataclass
class FileNames:
    """What one file calls its prompts: ids by name, and those that were matched by text."""

    ids: dict[str, str]
    taken: set[str]


def text_key(messages: Sequence[Message]) -> TextKey:
    """What is equal for two prompts that differ by white space only; empty for no text."""
    if len(messages) == 1 and messages[0].role == "user":
        return _squeeze(messages[0].content)
    return tuple((message.role, _squeeze(message.content)) for message in messages)


def name_of(id: object) -> str:
    """An id as a text.

    Raises:
        RowError: it is neither a string nor a whole number.
    """
    if isinstance(id, float):
        # pandas makes whole numbers floats as soon as one is missing; from 2**53 on that may
        # have made one number of two.
        if not id.is_integer() or abs(id) >= 2**53:
            raise RowError(
                f"'id' must be a string or a whole number (as a float, below 2**53), got {id}"
            )
        id = int(id)
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise RowError(f"'id' must be a string or a whole number, got {kind_of(id)}")
    return _squeeze(str(id))


def _squeeze(text: str) -> str:
    squeezed = " ".join(text.split())
    return text if squeezed == text else squeezed


def _messages_of(record: Record) -> tuple[Message, ...]:
    asked = record.prompt
    if asked is None or isinstance(asked, str):
        return (Message("user", asked or ""),)
    return tuple(asked)


def _made_id(messages: Sequence[Message]) -> str:
    """The id of a prompt that has none: of its text, or of its messages where there are several."""
    if len(messages) == 1 and messages[0].role == "user":
        return digest(messages[0].content)[:ID_LENGTH]
    return digest([[message.role, message.content] for message in messages])[:ID_LENGTH]
