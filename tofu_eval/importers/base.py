"""What an importer is: a function from one tool's rows to records of prompts and responses.

An importer is one file. It says in its decorator by which fields its rows are told apart from
those of other tools, and in its docstring where these fields stand in that tool:

    @importer("quiz", title="Quiz log", fields=("question", "answers"))
    def quiz(file):
        '''...'''
        for row in file.rows():
            yield Record(prompt=row["question"], responses=row["answers"])

What is wrong with a row is raised as `RowError`, in words that begin after "line 3:"; the reader
adds file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tofu_eval.core.registry import Registry, origin_of
from tofu_eval.core.types import Message

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
Row = Mapping[str, Any]
Given = Mapping[str, float]
Choose = Callable[[Sequence[tuple[Path, Row]]], Sequence[Path]]

IMPORTERS: Registry[Importer] = Registry(
    "importer",
    "tofu_eval.importers",
    group="tofu_eval.importers",
    listing="tofu-eval importers list",
)


class RowError(ValueError):
    """What is wrong with a row: expected and got, without its place."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as a file has it, with what the file says of it.

    `text` is None where there is none: the call failed, a filter took it, a tool was called.
    `state` is set where the format says it outright ("failed", "filtered"); else it follows from
    text and finish reason. `given` has numbers by the name of the feature that they are:
    "reward", "equivalence" (class numbers), "reward_level".
    """

    text: str | None
    finish_reason: str | None = None
    logprob: float | None = None
    correct: bool | None = None
    reasoning: str | None = None
    state: str | None = None
    given: Given | None = None


@dataclass(slots=True)
class Record:
    """A prompt and some or all of its responses from one model.

    Args:
        responses: in the order of sampling.
        prompt: a text, or the messages of a conversation; None where only an id is known.
        id: the prompt's name in that tool.
        model: its name in that tool; None where the file does not say.
        references: gold or human answers.
        whole: these are all responses of the prompt, so that a second record of it is an error.
        by_text: `id` may differ between samples of one prompt, whose text then says which it is.
        first: the sample number of the first response; by default they are counted.
        sent: the prompt as the model saw it, where that is another text: its end tells whether a
            template opened a thought.
        step: the step of training that the model was at; where a file has several, each is a
            model of its own.
        metadata: what is known of the prompt, such as its category, by the field's name.
    """

    responses: Sequence[Answer | str | None]
    prompt: str | Sequence[Message] | None = None
    id: str | int | float | None = None
    model: str | None = None
    references: Sequence[str] = ()
    whole: bool = False
    by_text: bool = False
    first: int | None = None
    sent: str | None = None
    step: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class File(Protocol):
    """An opened file, as an importer sees it."""

    @property
    def path(self) -> Path:
        """Where it is; "-" for standard input."""
        ...

    @property
    def kind(self) -> str:
        """What holds its rows: "jsonl", "json", "csv", "parquet", "arrow" or "eval"."""
        ...

    @property
    def options(self) -> Options:
        """What the user says of the files."""
        ...

    def rows(self, columns: Sequence[str] = ()) -> Iterator[Row]:
        """Its rows from the first to the last, as often as asked for.

        Of a table, `columns` are read, or else those of the importer.
        """
        ...

    def columns(self) -> list[str]:
        """All columns of a table, also those that are not read."""
        ...

    def files_beside(self, *patterns: str) -> list[Path]:
        """Other files in its folder whose names match, sorted; none for standard input."""
        ...

    def read(self, path: Path) -> Iterator[Row]:
        """The rows of another file, to which this one refers."""
        ...

    def say(self, what: str) -> None:
        """Add to what the run says it took: "prompts from batch_input.jsonl"."""
        ...

    def note(self, remark: str) -> None:
        """Add a remark for the user about what was left out or could not be known."""
        ...


@dataclass(frozen=True)
class Options:
    """What the user says of the files: names of fields, where the prompts stand, the format.

    Several `responses` are a table with a column a model; `format` names an importer; `cluster` is
    the field whose value prompts that belong together share.
    """

    prompt: str | None = None
    responses: tuple[str, ...] = ()
    id: str | None = None
    model: str | None = None
    prompts: Path | None = None
    format: str | None = None
    cluster: str | None = None

    @property
    def names_fields(self) -> bool:
        """Whether any field was named, which only rows have."""
        return bool(self.prompt or self.responses or self.id or self.model)


OF_PROMPT = ("cluster", "category", "subject", "topic")
"""Fields that say which prompts belong together, where the user names none."""


def metadata_in(file: File, *places: object) -> dict[str, str]:
    """What a file says of a prompt: the field of --cluster, else those that name a category.

    Args:
        file: that is read.
        places: objects that may have the fields; the first that has one counts.
    """
    known: dict[str, str] = {}
    for name in cluster_fields(file.options):
        for place in places:
            value = place.get(name) if isinstance(place, Mapping) else None
            if text := prompt_fact(look(place, name) if value is None else value):
                known.setdefault(name, text)
    return known


def cluster_fields(options: Options) -> tuple[str, ...]:
    """The fields that may say to which cluster a prompt belongs."""
    return (options.cluster,) if options.cluster else OF_PROMPT


def prompt_fact(value: object) -> str:
    """What is said of a prompt, as a text; empty where it is nothing of one value."""
    return " ".join(str(value).split()) if isinstance(value, str | int) else ""


@dataclass(frozen=True)
class Importer:
    """A format and what there is to know about it.

    `fields` are dotted paths by which the format is told apart, `or_fields` those of its other
    shape; `matches` is a further look at the first row. `columns` are what is read of a Parquet
    file, with all that lies below them; empty for all. Of the files of a folder, `choose` picks
    those to be read, of pairs of path and first row; `file_is_model` says that each is a model,
    whatever their names.
    """

    name: str
    title: str
    read: Callable[[File], Iterable[Record]]
    fields: tuple[str, ...]
    or_fields: tuple[str, ...] = ()
    matches: Callable[[Row], bool] | None = None
    columns: tuple[str, ...] = ()
    choose: Choose | None = None
    file_is_model: bool = False

    def fit(self, row: object) -> int:
        """How many of its fields tell that a row is in this format; 0 where it is not."""
        for fields in (self.fields, self.or_fields):
            if fields and isinstance(row, Mapping) and all(has(row, path) for path in fields):
                return len(fields) if self.matches is None or self.matches(row) else 0
        return 0


Read = TypeVar("Read", bound=Callable[[File], Iterable[Record]])


def importer(
    name: str,
    *,
    title: str,
    fields: Sequence[str],
    or_fields: Sequence[str] = (),
    matches: Callable[[Row], bool] | None = None,
    columns: Sequence[str] = (),
    choose: Choose | None = None,
    file_is_model: bool = False,
) -> Callable[[Read], Read]:
    """Register a function as an importer.

    Args:
        name: what --input-format calls it.
        title: what the run says: "read as: TITLE".
        fields: dotted paths of the fields by which its rows are told apart; where several
            importers fit, the one with the most of them is taken.
        or_fields: the same of the format's other shape, where it has two.
        matches: a further look at the first row, where fields alone do not tell.
        columns: what is read of a Parquet file; by default, all.
        choose: which files of a folder are read, where several say the same.
        file_is_model: of a folder, each file is a model, however their names are alike.

    Raises:
        DuplicateNameError: another importer has the name.
    """

    def register(read: Read) -> Read:
        built = Importer(
            name,
            title,
            read,
            tuple(fields),
            tuple(or_fields),
            matches,
            tuple(columns),
            choose,
            file_is_model,
        )
        IMPORTERS.add(name, built, origin_of(read))
        return read

    return register


def has_several_steps(file: File) -> bool:
    """Whether the rows of a training log are of more than one step."""
    steps = {row.get("step") for row in file.rows(("step",))}
    return len(steps) > 1


# Looking into rows


def look(row: object, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for name in path.split("."):
        if not isinstance(row, Mapping):
            return None
        row = row.get(name)
    return row


def has(row: object, path: str) -> bool:
    """Whether there is something, be it null, at a dotted path."""
    *folders, name = path.split(".")
    inner = look(row, ".".join(folders)) if folders else row
    return isinstance(inner, Mapping) and name in inner


def text_at(row: Row, path: str) -> str:
    """The string at a dotted path.

    Raises:
        RowError: there is none, or something else.
    """
    value = look(row, path)
    if not isinstance(value, str):
        raise RowError(f"'{path}' must be a string, got {kind_of(value)}")
    return value


def list_at(row: Row, path: str) -> list[Any]:
    """The list at a dotted path.

    Raises:
        RowError: there is none, or something else.
    """
    value = look(row, path)
    if not isinstance(value, list):
        raise RowError(f"'{path}' must be a list, got {kind_of(value)}")
    return value


def object_at(row: Row, path: str) -> Mapping[str, Any]:
    """The object at a dotted path.

    Raises:
        RowError: there is none, or something else.
    """
    value = look(row, path)
    if not isinstance(value, Mapping):
        raise RowError(f"'{path}' must be an object, got {kind_of(value)}")
    return value


def texts_of(value: object, name: str) -> list[str]:
    """A string, a list of strings or null, as a list of strings.

    Raises:
        RowError: anything else.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        for place, text in enumerate(value, start=1):
            if not isinstance(text, str):
                raise RowError(f"{place} of '{name}' must be a string, got {kind_of(text)}")
        return value
    raise RowError(f"'{name}' must be a string or a list of strings, got {kind_of(value)}")


def truth_of(value: object) -> bool | None:
    """True and false as tools write them: a boolean, 1 or 0; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return None


def number_of(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) < float("inf") else None


def fields_of(row: object) -> str:
    """The names of a row's fields, for a message."""
    if not isinstance(row, Mapping):
        return kind_of(row)
    names = [str(name) for name in row]
    shown = ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
    return f"fields {shown}" if names else "no fields"


def on_one_line(text: object) -> str:
    """A text for a message: on one line, and as UTF-8 can hold it; file names may be any bytes."""
    return UNPRINTABLE.sub("\ufffd", str(text))


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return names.get(type(value), "an object")
