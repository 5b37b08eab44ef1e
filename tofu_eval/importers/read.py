"""Responses that somebody already has: files in, prompts and rows out.

What holds the rows is `containers.py`; which tool wrote them is told by their fields, and read by
that tool's importer; which rows are of one prompt is `prompts.py`. Here they meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tofu_eval.core.errors import DataError
from tofu_eval.core.names import LONGEST_NAME
from tofu_eval.core.reasoning import TAGS, Tag, opens_thought, split_reasoning, state_of
from tofu_eval.core.types import Prompt, digest
from tofu_eval.importers.base import (
    Answer,
    Options,
    Record,
    Row,
    RowError,
    cluster_fields,
    fields_of,
    kind_of,
)
from tofu_eval.importers.containers import STDIN, Container
from tofu_eval.importers.folders import Input, find_inputs
from tofu_eval.importers.prompts import FileNames
from tofu_eval.importers.reading import Reading, Responses
from tofu_eval.importers.spool import Rows, Spool

APART = "name them apart: tofu-eval score NAME=FILE …"
ADVICE = re.compile(r"(?:^|[ (])--[a-z]|tofu-eval ")
"""What is wrong says itself what to do, with a flag or a command: the row needs no mending."""

KEY_LENGTH = 56
"""Characters of a response's key that its prompt decides; eight more are the sample number."""


def read_responses(
    files: Sequence[tuple[str | None, Path]],
    task: str,
    *,
    spool: Path,
    options: Options | None = None,
    tags: Sequence[Tag] = TAGS,
    known: Sequence[Prompt] = (),
) -> Responses:
    """Read files of responses.

    Args:
        files: (model name or None, file, directory or "-"); without a name, the rows say the
            model, or else the file's name does.
        task: the task's name, written into each row.
        spool: on which disk rows are kept until all files are read.
        options: what the user says of the files.
        tags: how thoughts begin and end.
        known: prompts that a run has already.

    Raises:
        DataError: with file and line, for anything that is not as its format says.
        StoreError: there is no room for what is read.
    """
    reading = Reading(task, Spool(spool), spool, options or Options(), tuple(tags), known)
    for name, path in files:
        earlier = set(reading.found.rows)
        inputs = find_inputs(name, path, spool, reading.options)
        reading.found.notes += inputs.notes
        shown = [_FileReader(reading, one, inputs.name, earlier).take_all() for one in inputs.files]
        reading.end_source(path, shown, earlier)
    reading.found.prompts = reading.prompts.by_id
    return reading.found


@dataclass(frozen=True, slots=True)
class _Group:
    """The responses of one model to one prompt: what all of them share."""

    model: str
    id: str
    key: str
    rows: Rows
    counts: dict[str, int]
    opened: bool


class _FileReader:
    """One file on its way into what is found; also the file as its importer sees it."""

    def __init__(
        self, reading: Reading, source: Input, name: str | None, earlier: set[str]
    ) -> None:
        self._reading = reading
        self._source = source
        self._name = name
        self._earlier = earlier
        self._importer = source.importer
        self._container = source.container
        self._row: object = None
        self._at: Container = source.container
        self._opened: list[Container] = []
        self._says: list[str] = []
        self._names = FileNames({}, set())
        self._models: dict[object, str] = {}
        self._said_model: str | None = None
        self._ids: dict[tuple[Any, Any], str] = {}
        self._last: tuple[object, ...] = ()
        self._here: _Group
        self._steps: set[int] = set()
        self._number = 0
        self._signs = reading.signs

    # As its importer sees it

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._container.path

    @property
    def kind(self) -> str:
        """What holds the rows: "jsonl", "json", "csv", "parquet", "arrow" or "eval"."""
        return self._container.kind

    @property
    def options(self) -> Options:
        """What the user says of the files."""
        return self._reading.options

    def rows(self, columns: Sequence[str] = ()) -> Iterator[Row]:
        """Its rows from the first to the last, as often as asked for."""
        wanted = columns or self._importer.columns
        if wanted:
            wanted = (*wanted, *(n for n in cluster_fields(self.options) if n not in wanted))
        return self._rows_of(self._container, wanted)

    def columns(self) -> list[str]:
        """All columns of a table, also those that are not read."""
        return self._container.names()

    def files_beside(self, *patterns: str) -> list[Path]:
        """Other files in its folder whose names match, sorted; none for standard input."""
        if self.path == STDIN:
            return []
        folder = self.path.parent
        found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
        return sorted(found - {self.path})

    def read(self, path: Path) -> Iterator[Row]:
        """The rows of another file, to which this one refers."""
        container = Container(path, self._reading.folder)
        self._opened.append(container)
        return self._rows_of(container, ())

    def say(self, what: str) -> None:
        """Add to what the run says it took."""
        if what not in self._says:
            self._says.append(what)

    def note(self, remark: str) -> None:
        """Add a remark for the user."""
        self._reading.found.notes.append(f"{self._container.shown}: {remark}")

    def _rows_of(self, container: Container, columns: Sequence[str]) -> Iterator[Row]:
        for row in container.rows(columns):
            self._row, self._at = row, container
            if not isinstance(row, dict):
                raise RowError(f"expected a JSON object, got {kind_of(row)}")
            yield row

    # Reading it

    def take_all(self) -> str:
        """Take in all records; the SHA-256 of the file."""
        before = {model: len(rows) for model, rows in self._reading.found.rows.items()}
        try:
            for record in self._importer.read(self):
                self._take(record)
        except RowError as error:
            raise self._error(str(error)) from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            what = f"the field {error}" if isinstance(error, KeyError) else str(error)
            raise self._error(
                f"not as {self._importer.title} has it ({what}), got {fields_of(self._row)}"
            ) from error
        finally:
            for container in (*self._opened, self._container):
                container.close()
        self._finish(before)
        return self._container.sha256

    def _finish(self, before: Mapping[str, int]) -> None:
        here, notes = self._container, self._reading.found.notes
        rows = self._reading.found.rows
        if all(len(rows[model]) == before.get(model, 0) for model in rows):
            raise DataError(
                f"{here.shown} has no responses: read as {self._importer.title}. "
                "Give a file that has some."
            )
        if self._says or self._importer.name != "rows":
            notes.append(f"{here.shown}: read as: {', '.join([self._importer.title, *self._says])}")
        if here.halves.count:
            notes.append(
                f"{here.shown}: {here.halves.count} texts had unpaired surrogates (half an emoji, "
                "usually); each such half is scored as U+FFFD."
            )

    def _take(self, record: Record) -> None:
        group = (record.model, record.step, record.id, record.prompt)
        says_more = record.references or record.metadata
        alone = says_more or record.whole or record.first is not None
        if alone or record.prompt is None or group != self._last:
            self._enter(record)
            self._last = group
        here, count = self._here, len(record.responses)
        before = start = here.counts.get(here.id, 0)
        if record.first is not None:
            start = record.first
            self._claim(here.model, here.id, start, count)
        here.counts[here.id] = before if before > start + count else start + count
        if not here.opened and self._are_plain(record.responses):
            here.rows.add_texts(here.key, here.id, start, cast(Sequence[str], record.responses))
            self._reading.givens[here.model] = frozenset()
            return
        for sample, answer in enumerate(record.responses, start):
            self._add(here, sample, answer)
            self._note_given(here.model, answer)

    def _enter(self, record: Record) -> None:
        """Find model and prompt of a record, and what its responses share."""
        reading = self._reading
        model = self._model_of(record)
        id = self._id_of(record)
        rows, counts = reading.rows_of(model), reading.counts[model]
        if record.whole:
            first = reading.firsts.setdefault((model, id), self._place())
            if id in counts:
                raise RowError(
                    f"prompt '{id}' of model '{model}' stands on {first} already; put its "
                    "responses into one row"
                )
        if not record.prompt and any(self._text_of(answer) for answer in record.responses):
            reading.found.unasked.add(id)
        # The key depends on the file's content.
        key = digest(f"{reading.task}/{model}/{self._container.sha256}/{id}")[:KEY_LENGTH]
        self._here = _Group(model, id, key, rows, counts, self._opens_thought(record))

    @staticmethod
    def _text_of(answer: Answer | str | None) -> str | None:
        return answer.text if isinstance(answer, Answer) else answer

    def _are_plain(self, answers: Sequence[Any]) -> bool:
        """Whether responses are texts of which nothing is said, without thoughts, none blank."""
        one = len(answers) == 1
        if type(answers[0]) is not str or not (one or set(map(type, answers)) == {str}):
            return False
        text = answers[0] if one else "\0".join(answers)
        for sign in self._signs:
            if sign in text:
                return False
        if one:
            return bool(text) and not text.isspace()
        return all(answers) and not any(map(str.isspace, answers))

    def _place(self) -> str:
        here = self._container
        return f"{here.unit} {here.at}" + (f" of {here.path.name}" if self._source.is_part else "")

    def _note_given(self, model: str, answer: Answer | str | None) -> None:
        """Keep the features that every response of a model with a text has so far."""
        said = answer if isinstance(answer, Answer) else Answer(answer)
        if said.text and said.state is None:
            names = frozenset(said.given or ())
            self._reading.givens[model] = self._reading.givens.get(model, names) & names

    def _claim(self, model: str, id: str, start: int, count: int) -> None:
        taken = self._reading.samples[model]
        for sample in range(start, start + count):
            if (id, sample) in taken:
                raise RowError(
                    f"response {sample + 1} to prompt '{id}' of model '{model}' stands in the file "
                    "already"
                )
            taken.add((id, sample))

    def _model_of(self, record: Record) -> str:
        """The model's name as a folder's, which no other name in these files may become too."""
        key = (record.model, record.step) if record.step is not None else record.model
        try:
            return self._models[key]
        except (KeyError, TypeError):  # TypeError: it is no string
            model = self._new_model(record)
        self._models[key] = model
        return model

    def _new_model(self, record: Record) -> str:
        if record.model is not None and not isinstance(record.model, str):
            raise RowError(f"'model' must be a string, got {kind_of(record.model)}")
        if self._name is not None and record.model is not None and self._models:
            raise RowError(
                f"a second model, '{_shorten(record.model)}', where the whole file is named "
                f"'{self._name}'; leave the name out: tofu-eval score FILE"
            )
        written = self._name if self._name is not None else record.model
        written = self._source.label if written is None else written
        if record.step is not None:
            written = f"{written}-step-{record.step}"
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", written).strip("-._")
        if not model:
            raise RowError(
                "a model's name needs a letter from A to Z or a digit, "
                f"got '{_shorten(written)}'; name it: tofu-eval score NAME=FILE"
            )
        if len(model) > LONGEST_NAME:
            raise RowError(
                f"a model's name may have at most {LONGEST_NAME} characters, got {len(model)} "
                f"('{_shorten(written)}'); name it: tofu-eval score NAME=FILE"
            )
        first = self._reading.found.names.setdefault(model, written)
        if first != written:
            raise RowError(
                f"the models '{first}' and '{written}' would both be called '{model}'; "
                f"put each into a file of its own and {APART}"
            )
        if model in self._earlier:
            raise RowError(f"model '{model}' has responses in an earlier file too; {APART}")
        return model

    def _id_of(self, record: Record) -> str:
        """The prompt's id; the prompt is among those that are found then."""
        self._number += 1
        if record.prompt is None and self._reading.elsewhere:
            self._reading.elsewhere.fill(record, self._number)
        says_more = record.references or record.metadata
        is_plain = not says_more and type(record.prompt) in (str, type(None))
        if not is_plain or type(record.id) not in (str, int, type(None)):
            return self._reading.prompts.id_of(record, self._names)
        key = (record.id, record.prompt)
        if key not in self._ids:
            self._ids[key] = self._reading.prompts.id_of(record, self._names)
        return self._ids[key]

    def _opens_thought(self, record: Record) -> bool:
        """Whether the prompt, as the model saw it, ends within a thought."""
        sent = record.sent if record.sent is not None else record.prompt
        # Few prompts end in anything but a letter or a full stop, and a tag does.
        if not isinstance(sent, str) or sent[-1:] in ".?!" or sent[-1:].isalnum():
            return False
        return opens_thought(sent, tags=self._reading.tags)

    def _add(self, here: _Group, sample: int, answer: Answer | str | None) -> None:
        """Add one response, its thoughts taken off."""
        said = answer if isinstance(answer, Answer) else Answer(answer)
        for name, value in (("response", said.text), ("reasoning", said.reasoning)):
            if value is not None and not isinstance(value, str):
                raise RowError(f"a {name} must be a string, got {kind_of(value)}")
        text, thought, closed = said.text or "", said.reasoning, True
        if here.opened or any(sign in text for sign in self._reading.signs):
            opened = here.opened and thought is None
            parts = split_reasoning(text, tags=self._reading.tags, opened=opened)
            text, closed = parts.answer, parts.closed
            if parts.reasoning is not None:
                thought = "\n\n".join(filter(None, (thought, parts.reasoning)))
        here.rows.add(
            here.key,
            here.id,
            sample,
            text,
            finish_reason=said.finish_reason,
            logprob=said.logprob,
            correct=said.correct,
            state=said.state or self._state_of(text, said.finish_reason, closed),
            reasoning=thought,
            given=list(said.given.items()) if said.given else None,
        )

    def _state_of(self, text: str, reason: object, closed: bool) -> str:
        if reason is not None and not isinstance(reason, str):
            raise RowError(f"'finish_reason' must be a string, got {kind_of(reason)}")
        return state_of(text, reason, closed=closed)

    def _error(self, what: str) -> DataError:
        at = self._at
        if ADVICE.search(what):  # it says what to do instead
            return at.error(f"{what}." if what[-1] not in ".…" else what)
        mend = f" Mend that {at.unit} and try again." if at.at else " Mend the file and try again."
        return at.error(f"{what}.{mend}")


def _shorten(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:40]}…"
