"""What an argument of `tofu-eval score` stands for: one file, or the files of a directory.

A directory holds one format. Files whose names differ in digits only are parts of one model's
responses; otherwise each file is a model, unless its rows name theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tofu_eval.core.errors import DataError
from tofu_eval.importers.base import Importer, Options, on_one_line
from tofu_eval.importers.containers import STDIN, Container
from tofu_eval.importers.identify import first_row, identify, known_format
from tofu_eval.importers.rows import can_read

SUFFIXES = frozenset(
    (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".eval")
)
PACKINGS = frozenset((".gz", ".zst", ".xz", ".bz2"))
DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Input:
    """A file, what reads it, and how its model is called where nothing else says.

    `is_part`: it is one of a directory's.
    """

    container: Container
    importer: Importer
    label: str
    is_part: bool = False


@dataclass
class Inputs:
    """The files of one argument, the model's name where the user gave one, and remarks."""

    files: list[Input]
    name: str | None
    notes: list[str] = field(default_factory=list)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # longer than the system allows: opening it says so
        return False


def find_inputs(name: str | None, path: Path, spool: Path, options: Options) -> Inputs:
    """The files that an argument stands for, each with its importer.

    Raises:
        DataError: a file cannot be read, or a directory holds several formats or none.
    """
    if path == STDIN or not _is_folder(path):
        container = Container(path, spool)
        importer = identify(container, options)
        return Inputs([Input(container, importer, label_of(path))], name)
    return _in_folder(name, path, spool, options)


def label_of(path: Path) -> str:
    """A model's name from its file's."""
    if path == STDIN:
        return "stdin"
    stem = path
    while stem.suffix.lower() in PACKINGS | SUFFIXES:
        stem = stem.with_suffix("")
    return stem.name


def _in_folder(name: str | None, folder: Path, spool: Path, options: Options) -> Inputs:
    paths = _data_files(folder)
    if not paths:
        raise DataError(
            f"{on_one_line(folder)} holds no file of responses ({', '.join(sorted(SUFFIXES))}). "
            "Give the files by name."
        )
    inputs = Inputs([], name)
    found = [_open(path, spool, options) for path in paths]
    taken = [(container, importer) for container, importer in found if importer is not None]
    left = [container for container, importer in found if importer is None]
    if not taken:
        raise left[0].error("no format of responses has these fields. Give files by name.", 1)
    _refuse_mixture(folder, taken, left)
    for container in left:
        container.close()
    if left:
        names = ", ".join(on_one_line(container.path.name) for container in left)
        inputs.notes.append(f"{on_one_line(folder)}: not read, as no responses: {names}")
    importer = taken[0][1]
    chosen = [container for container, _ in taken]
    if importer.choose is not None:
        rows = {container.path: container for container in chosen}
        best = set(importer.choose([(path, first_row(one)) for path, one in rows.items()]))
        for path, container in rows.items():
            if path not in best:
                container.close()
                inputs.notes.append(f"{container.shown}: not read, the same is in another file")
        chosen = [container for path, container in rows.items() if path in best]
    labels = _labels(folder, [container.path for container in chosen], importer)
    inputs.files = [
        Input(container, importer, label, is_part=True)
        for container, label in zip(chosen, labels, strict=True)
    ]
    return inputs


def _data_files(folder: Path) -> list[Path]:
    """The files below a folder that may hold responses, hidden ones left out, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and SUFFIXES & {suffix.lower() for suffix in path.suffixes[-2:]}
    )


def _open(path: Path, spool: Path, options: Options) -> tuple[Container, Importer | None]:
    """A file of a directory and its importer; none for what has no responses."""
    container = Container(path, spool)
    if options.prompts is not None and path.samefile(options.prompts):
        return container, None
    if options.format is None and not options.names_fields:
        if container.is_empty:
            return container, None
        row = first_row(container)
        if known_format(container, row) is None and not can_read(row):
            return container, None
    return container, identify(container, options)


def _refuse_mixture(
    folder: Path, taken: Sequence[tuple[Container, Importer]], left: Sequence[Container]
) -> None:
    """Refuse several formats, and tables of rows that are no responses."""
    first, importer = taken[0]
    for container, other in taken:
        if other.name != importer.name:
            raise container.error(
                f"{on_one_line(folder)} holds several formats: this is {other.title}, "
                f"{on_one_line(first.path.name)} is {importer.title}. Give the files by name.",
                1,
            )
    for container in left:
        if container.kind != "json" and not container.is_empty and not _is_companion(container):
            raise container.error(
                f"these rows are no responses that any format has, and "
                f"{on_one_line(first.path.name)} beside it is {importer.title}. "
                "Give the files by name.",
                1,
            )


def _is_companion(container: Container) -> bool:
    """Whether a file is one object, such as results, or the input of a batch."""
    row = first_row(container)
    rows = container.rows()
    next(rows)
    return "custom_id" in row or next(rows, None) is None


def _labels(folder: Path, paths: Sequence[Path], importer: Importer) -> list[str]:
    """How the model of each file is called."""
    stems = [label_of(path) for path in paths]
    names = list(stems)
    above = [path.parent for path in paths]
    if not importer.file_is_model:
        for place, path in enumerate(paths):
            beside = [stems[i] for i, parent in enumerate(above) if parent == path.parent]
            if len(beside) > 1 and len({DIGITS.sub("0", name) for name in beside}) == 1:
                names[place] = path.absolute().parent.name
    if len(set(above)) > 1 and _clash(names, above):
        return [_name_below(folder, path) for path in above]
    return names


def _clash(names: Sequence[str], above: Sequence[Path]) -> bool:
    return any(
        name == other and parent != folder
        for name, parent in zip(names, above, strict=True)
        for other, folder in zip(names, above, strict=True)
    )


def _name_below(folder: Path, path: Path) -> str:
    inner = path.relative_to(folder)
    return "/".join(inner.parts) if inner.parts else folder.absolute().name
