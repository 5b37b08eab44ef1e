"""Which tool wrote a file: told by the fields of its first row."""

from __future__ import annotations

from tofu_eval.core.errors import DataError
from tofu_eval.importers.base import (
    IMPORTERS,
    Importer,
    Options,
    Row,
    fields_of,
    kind_of,
)
from tofu_eval.importers.containers import Container

ROWS = "rows"
"""The importer for what no other one knows."""

EXAMPLE = '{"prompt": "Name a fruit.", "responses": ["apple", "pear"]}'


def identify(container: Container, options: Options) -> Importer:
    """The importer for a file.

    Args:
        container: the file.
        options: the format that the user names; where they name fields, it is rows.

    Raises:
        UnknownNameError: there is no importer of that name.
        DataError: the file is empty, or not in the format that was named, or in two.
    """
    format = options.format or (ROWS if options.names_fields else None)
    row = first_row(container)
    if format is None:
        found, plain = _best_of(container, row)
        return found or plain
    importer = IMPORTERS.get(format)
    if format != ROWS and not importer.fit(row):
        other = known_format(container, row)
        looks = "List all formats: tofu-eval importers list"
        if other:
            looks = f"It looks like {other.title}: --input-format {other.name}"
        either = " or ".join(", ".join(f) for f in (importer.fields, importer.or_fields) if f)
        raise container.error(
            f"not {importer.title}, whose rows have {either}; got {fields_of(row)}. {looks}."
        )
    return importer


def known_format(container: Container, row: Row) -> Importer | None:
    """The importer whose fields a row has, the one with the most of them; None for plain rows.

    Raises:
        DataError: two importers fit equally well.
    """
    return _best_of(container, row)[0]


def _best_of(container: Container, row: Row) -> tuple[Importer | None, Importer]:
    """The importer that fits best, and the one for plain rows."""
    items = [entry.item for entry in IMPORTERS.entries() if entry.item is not None]
    plain = next(item for item in items if item.name == ROWS)
    fits = [(item.fit(row), item) for item in items]
    most = max(count for count, _ in fits)
    best = [item for count, item in fits if count == most > 0]
    if len(best) > 1:
        names = " or ".join(f"--input-format {item.name}" for item in best)
        titles = " and ".join(item.title for item in best)
        raise container.error(f"both {titles} have these fields. Say which it is: {names}.")
    return (best[0] if best else None), plain


def first_row(container: Container) -> Row:
    """The first row of a file.

    Raises:
        DataError: there is none, or it is no object.
    """
    for row in container.rows():
        if not isinstance(row, dict):
            raise container.error(
                f"expected a JSON object, got {kind_of(row)}. Mend that {container.unit} and try "
                "again."
            )
        if not row and container.names():
            row = dict.fromkeys(container.names())
        first: Row = row
        return first
    if container.kind in ("parquet", "arrow"):
        expected = "rows with the columns 'prompt' and 'responses'. Write it again and try again."
    else:
        expected = f"one JSON object a line. Example: {EXAMPLE}"
    raise DataError(f"{container.shown} is empty: expected {expected}")
