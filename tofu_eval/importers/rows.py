"""Responses that somebody already has: JSONL or Parquet in, prompts and rows out.

A row is either a prompt with all its responses or one response:

    {"prompt": "Name a fruit.", "responses": ["apple", "pear"]}     (or "generations")
    {"prompt": "Name a fruit.", "response": "apple"}                (or "generation")

`id` may stand beside or instead of `prompt`; `model` names the model where one file holds several.
`references` has the prompt's human or target answers, a list of texts; one row of the prompt is
enough. `logprob` (of the whole response, nats) and `finish_reason` are what the model's engine said
of the response, `correct` (true or false) is what somebody found out about its answer; beside
`responses` each is a list, one a response. Null is as if it were not there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tofu_eval.core.errors import DataError
from tofu_eval.core.reasoning import settle_response
from tofu_eval.core.types import LONGEST_NAME, RESPONSE_SCHEMA, Prompt, Response, digest, to_table

MANY = ("responses", "generations")
ONE = ("response", "generation")
OF_RESPONSE = ("logprob", "finish_reason", "correct")
COLUMNS = ("model", "prompt", "id", "references", *MANY, *ONE, *OF_RESPONSE)
SURROGATE = re.compile("[\ud800-\udfff]")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
SPOOLED = 4096
"""Rows of a model that are held in memory, and that a part file of a run gets."""
APART = "name them apart: tofu-eval score NAME=FILE …"


class Rows:
    """The responses of one model, in their order; all but the last few lie in a temporary file.

    So a file of any size is checked to its end before anything of it enters a run.
    """

    def __init__(self) -> None:
        self._batch: list[Response] = []
        self._file: IO[bytes] | None = None
        self._writer: Any = None
        self._count = 0

    def append(self, row: Response) -> None:
        """Add one."""
        self._batch.append(row)
        self._count += 1
        if len(self._batch) == SPOOLED:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
                self._writer = pa.ipc.new_stream(self._file, RESPONSE_SCHEMA)
            self._writer.write_table(to_table(self._batch, RESPONSE_SCHEMA))
            self._batch = []

    def batches(self) -> Iterator[list[Response]]:
        """All rows, some thousand at a time."""
        if self._file is not None:
            self._file.flush()
            end = self._file.tell()
            self._file.seek(0)
            for table in pa.ipc.open_stream(self._file):
                yield [Response(**row) for row in table.to_pylist()]
            self._file.seek(end)
        if self._batch:
            yield list(self._batch)

    def __iter__(self) -> Iterator[Response]:
        for batch in self.batches():
            yield from batch

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes


@dataclass
class Responses:
    """What a file held: prompts by id, rows by model, and remarks for the user.

    `names` has each model's name as it was written, before it became a folder's.
    """

    prompts: dict[str, Prompt] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def read_responses(files: Sequence[tuple[str | None, Path]], task: str) -> Responses:
    """Read one or more files of responses.

    Args:
        files: (model name or None, path); without a name, rows say `model`, or else the file's
            name is the model's.
        task: the task's name, written into each row.

    Raises:
        DataError: with file and line, for anything that is not as the module's docstring says.
    """
    found = Responses()
    for name, path in files:
        _File(found, path, name, task).read()
    return found


def read_rows(path: Path, columns: Sequence[str]) -> tuple[Iterator[tuple[int, object]], str]:
    """Read a JSONL or Parquet file whose rows mean something to the caller.

    Args:
        path: the file; a pipe is read into memory.
        columns: what is read of a Parquet file.
    Returns: (line or row number from 1, row) pairs, and the file's SHA-256.

    Raises:
        DataError: the file cannot be read, or (while iterating) a line is not JSON in UTF-8.
    """
    file, sha256 = _opened(path)

    def rows() -> Iterator[tuple[int, object]]:
        with file:
            yield from _rows(path, file, columns)

    return rows(), sha256


@dataclass
class _File:
    """One file on its way into `found`."""

    found: Responses
    path: Path
    name: str | None
    task: str
    replaced: int = 0
    first_line: dict[tuple[str, str], int] = field(default_factory=dict)
    shape: str | None = None

    def read(self) -> None:
        before = set(self.found.rows)
        count = 0
        file, sha256 = _opened(self.path)
        source = {"kind": "file", "file": _shown(self.path.name), "sha256": sha256}
        with file:
            for line, row in _rows(self.path, file):
                self._take(line, row, before)
                count += 1
        if not count:
            raise self._empty()
        for model in set(self.found.rows) - before:
            self.found.sources[model] = source
        if self.replaced:
            self.found.notes.append(
                f"{_shown(self.path)}: {self.replaced} texts had unpaired surrogates (half an "
                "emoji, usually); each such half is scored as U+FFFD."
            )

    def _take(self, line: int, row: object, before: set[str]) -> None:
        if not isinstance(row, dict):
            raise self._error(line, f"expected a JSON object, got {_kind(row)}")
        model = self._model(line, row)
        if model in before:
            raise self._error(
                line,
                f"model '{model}' has responses in an earlier file too; {APART}",
            )
        prompt = self._prompt(line, row)
        texts = self._texts(line, row)
        said = [self._said(line, row, name, len(texts)) for name in OF_RESPONSE]
        rows = self.found.rows.setdefault(model, Rows())
        mark = (model, prompt.id)
        if self.shape == "many":
            if mark in self.first_line:
                raise self._error(
                    line,
                    f"prompt '{prompt.id}' of model '{model}' stands on line "
                    f"{self.first_line[mark]} already; put its responses into one row",
                )
            self.first_line[mark] = line
            start = 0
        else:
            start = self.first_line.get(mark, 0)
            self.first_line[mark] = start + 1
        for sample, (text, logprob, reason, correct) in enumerate(
            zip(texts, *said, strict=True), start=start
        ):
            key = digest([self.task, model, prompt.id, sample, text])
            place = (key, model, self.task, prompt.id, sample)
            row = Response(*place, text, logprob=logprob, finish_reason=reason, correct=correct)
            rows.append(settle_response(row))

    def _model(self, line: int, row: Mapping[str, Any]) -> str:
        """The model's name as a folder's, which no other name in these files may become too."""
        written = row.get("model") if self.name is None else self.name
        if written is None:
            written = self.path.stem
        if not isinstance(written, str):
            raise self._error(line, f"'model' must be a string, got {_kind(written)}")
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", written).strip("-._")
        if not model:
            raise self._error(
                line,
                "a model's name needs a letter from A to Z or a digit, "
                f"got '{_shortened(written)}'; name it: tofu-eval score NAME=FILE",
            )
        if len(model) > LONGEST_NAME:
            raise self._error(
                line,
                f"a model's name may have at most {LONGEST_NAME} characters, got {len(model)} "
                f"('{_shortened(written)}'); name it: tofu-eval score NAME=FILE",
            )
        first = self.found.names.setdefault(model, written)
        if first != written:
            raise self._error(
                line,
                f"the models '{first}' and '{written}' would both be called '{model}'; "
                f"put each into a file of its own and {APART}",
            )
        return model

    def _prompt(self, line: int, row: Mapping[str, Any]) -> Prompt:
        text, id = row.get("prompt"), row.get("id")
        if text is None and id is None:
            raise self._error(line, f"expected 'prompt' or 'id', got {_fields(row)}")
        if text is not None and not isinstance(text, str):
            raise self._error(line, f"'prompt' must be a string, got {_kind(text)}")
        text = self._clean(text or "")
        name = digest(text)[:12] if id is None else self._id(line, id)
        prompt = Prompt.of_text(name, text, references=self._references(line, row))
        known = self.found.prompts.setdefault(name, prompt)
        if known.text != text:
            raise self._error(line, f"prompt '{name}' had another text before; ids must be unique")
        if prompt.references and not known.references:
            self.found.prompts[name] = prompt
        elif prompt.references and prompt.references != known.references:
            raise self._error(line, f"prompt '{name}' had other references before")
        return prompt

    def _references(self, line: int, row: Mapping[str, Any]) -> list[str]:
        texts = row.get("references")
        if texts is None:
            return []
        if not isinstance(texts, list):
            raise self._error(line, f"'references' must be a list of strings, got {_kind(texts)}")
        for place, text in enumerate(texts, start=1):
            if not isinstance(text, str):
                raise self._error(
                    line, f"reference {place} of 'references' must be a string, got {_kind(text)}"
                )
        return [self._clean(text) for text in texts]

    def _said(self, line: int, row: Mapping[str, Any], name: str, count: int) -> Sequence[Any]:
        """What the row has under `name`, one value or None a response."""
        values = row.get(name)
        if values is None:
            return [None] * count
        if self.shape == "one":
            values = [values]
        elif not isinstance(values, list) or len(values) != count:
            got = f"{len(values)} values" if isinstance(values, list) else _kind(values)
            raise self._error(
                line, f"'{name}' must be a list of one value a response ({count}), got {got}"
            )
        return [self._value(line, name, value) for value in values]

    def _value(self, line: int, name: str, value: object) -> float | str | None:
        if value is None:
            return None
        if name == "finish_reason":
            if not isinstance(value, str):
                raise self._error(line, f"'{name}' must be a string, got {_kind(value)}")
            return self._clean(value)
        if name == "correct":
            if not isinstance(value, bool):
                raise self._error(line, f"'{name}' must be true or false, got {_kind(value)}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(line, f"'{name}' must be a number, got {_kind(value)}")
        if not -sys.float_info.max <= value <= 0:  # NaN is refused too
            shown = _shortened(str(value))
            raise self._error(
                line, f"'{name}' must be at most 0, the log of a probability, got {shown}"
            )
        return float(value)

    def _id(self, line: int, id: object) -> str:
        if isinstance(id, float):
            # pandas makes whole numbers floats as soon as one is missing; from 2**53 on that
            # may have made one number of two.
            if not id.is_integer() or abs(id) >= 2**53:
                raise self._error(
                    line,
                    f"'id' must be a string or a whole number (as a float, below 2**53), got {id}",
                )
            id = int(id)
        if isinstance(id, bool) or not isinstance(id, str | int):
            raise self._error(line, f"'id' must be a string or a whole number, got {_kind(id)}")
        return self._clean(str(id))

    def _texts(self, line: int, row: Mapping[str, Any]) -> list[str]:
        many = [name for name in MANY if name in row]
        one = [name for name in ONE if name in row]
        if len(many) + len(one) != 1:
            raise self._error(line, f"expected one of {', '.join(MANY + ONE)}, got {_fields(row)}")
        shape = "many" if many else "one"
        if self.shape not in (None, shape):
            raise self._error(
                line, f"'{(many or one)[0]}' here, but the lines before have the other form"
            )
        self.shape = shape
        value = row[(many or one)[0]]
        if many and (not isinstance(value, list) or not value):
            raise self._error(
                line, f"'{many[0]}' must be a list of at least one string, got {_kind(value)}"
            )
        texts = value if many else [value]
        for place, text in enumerate(texts, start=1):
            if not isinstance(text, str):
                where = f"response {place} of '{many[0]}'" if many else f"'{one[0]}'"
                raise self._error(line, f"{where} must be a string, got {_kind(text)}")
        return [self._clean(text) for text in texts]

    def _clean(self, text: str) -> str:
        """UTF-8, and so Parquet, cannot hold half of a surrogate pair."""
        clean, halves = SURROGATE.subn("\ufffd", text)
        self.replaced += bool(halves)
        return clean

    def _error(self, line: int, what: str) -> DataError:
        unit = "row" if _is_parquet(self.path) else "line"
        return DataError(
            _shown(f"{self.path}, {unit} {line}: {what}. Mend that {unit} and try again.")
        )

    def _empty(self) -> DataError:
        expected = (
            "rows with the columns 'prompt' and 'responses'. Write it again and try again."
            if _is_parquet(self.path)
            else "one JSON object a line. "
            'Example: {"prompt": "Name a fruit.", "responses": ["apple", "pear"]}'
        )
        return DataError(f"{_shown(self.path)} is empty: expected {expected}")


def _opened(path: Path) -> tuple[io.BufferedIOBase, str]:
    """The file and its hash. A pipe gives its bytes only once, and so is kept in memory."""
    try:
        file: io.BufferedIOBase = path.open("rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            with file:
                file = io.BytesIO(file.read())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return file, sha256
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"Cannot read {_shown(path)}: {reason}. Give a JSONL or Parquet file."
        ) from error


def _rows(
    path: Path, file: io.BufferedIOBase, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[int, object]]:
    """Rows with their line (JSONL) or row (Parquet) number, counted from 1."""
    return _parquet_rows(path, file, columns) if _is_parquet(path) else _json_rows(path, file)


def _parquet_rows(
    path: Path, file: io.BufferedIOBase, columns: Sequence[str]
) -> Iterator[tuple[int, object]]:
    """The columns that count; the others only by their name, which an error may list."""
    try:
        table = pq.ParquetFile(file)
        names = table.schema_arrow.names
        batches = table.iter_batches(columns=[name for name in columns if name in names])
        rows = (dict.fromkeys(names) | row for batch in batches for row in batch.to_pylist())
        yield from enumerate(rows, start=1)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"{_shown(path)} cannot be read as Parquet: {_shown(reason)}. "
            "Write it again, or give it as JSONL."
        ) from error


def _json_rows(path: Path, file: io.BufferedIOBase) -> Iterator[tuple[int, object]]:
    for number, raw in enumerate(file, start=1):
        try:
            # A byte-order mark is only one at the start of the file.
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            if text.strip():
                yield number, json.loads(text)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{_shown(path)}, line {number}: not UTF-8 (byte {error.start + 1} of the line). "
                f"Convert the file: iconv -t UTF-8 {_shown(path.name)}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{_shown(path)}, line {number}: not JSON: {error}. Expected one object a line; "
                "mend that line and try again."
            ) from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _shown(text: object) -> str:
    """On one line, and as UTF-8 can hold it: a file's name may be any bytes."""
    return UNPRINTABLE.sub("\ufffd", str(text))


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:40]}…"


def _fields(row: Mapping[str, Any]) -> str:
    return f"fields {', '.join(map(str, row))}" if row else "no fields"


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return names.get(type(value), "an object")
