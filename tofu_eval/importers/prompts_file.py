"""The file of `--prompts`: prompts that stand elsewhere, by their ids or in the same order."""

from __future__ import annotations

from pathlib import Path

from tofu_eval.importers.base import Options, Record, Row, RowError, fields_of, texts_of
from tofu_eval.importers.chat import prompt_of
from tofu_eval.importers.containers import Container
from tofu_eval.importers.openai_batch import asked_in, is_input
from tofu_eval.importers.prompts import name_of
from tofu_eval.importers.rows import IDS, PROMPTS, REFERENCES


class GivenPrompts:
    """The prompts of the file that --prompts names; false where there is none.

    Raises:
        DataError: it cannot be read, or a row has no prompt.
    """

    def __init__(self, options: Options, spool: Path) -> None:
        self._path = options.prompts
        self._by_id: dict[str, Record] = {}
        self._in_order: list[Record] = []
        if self._path is not None:
            with Container(self._path, spool) as container:
                for row in container.rows():
                    try:
                        self._add(row, options)
                    except (RowError, KeyError, TypeError, AttributeError, IndexError) as error:
                        what = error if isinstance(error, RowError) else f"no prompt ({error})"
                        raise container.error(
                            f"{what}. Mend that {container.unit} and try again."
                        ) from error

    def __bool__(self) -> bool:
        return self._path is not None

    def fill(self, record: Record, number: int) -> None:
        """Give a record without a prompt its own: by its id, or as the `number`-th of the file.

        Raises:
            RowError: the file has no such prompt.
        """
        if record.id is not None:
            prompt = self._by_id.get(name_of(record.id))
            if prompt is None:
                some = ", ".join(list(self._by_id)[:3])
                raise RowError(
                    f"'{name_of(record.id)}' is none of the {len(self._by_id)} ids of "
                    f"{self._path} ({some}, …)"
                )
        elif number <= len(self._in_order):
            prompt = self._in_order[number - 1]
        else:
            raise RowError(
                f"expected 'prompt' or 'id', got neither, and {self._path} has only "
                f"{len(self._in_order)} prompts to go by their order"
            )
        record.prompt = prompt.prompt
        record.id = prompt.id if record.id is None else record.id
        record.references = record.references or prompt.references

    def _add(self, row: object, options: Options) -> None:
        if not isinstance(row, dict):
            raise RowError(f"expected an object with 'id' and 'prompt', got {fields_of(row)}")
        record = _read_prompt(row, options)
        self._in_order.append(record)
        if record.id is not None:
            name = name_of(record.id)
            if self._by_id.setdefault(name, record).prompt != record.prompt:
                raise RowError(f"the id '{name}' had another prompt before")


def _read_prompt(row: Row, options: Options) -> Record:
    if is_input(row):
        return Record((), prompt=asked_in(row["body"]), id=row["custom_id"])
    names = (options.prompt,) if options.prompt else PROMPTS
    field = next((name for name in names if row.get(name) is not None), None)
    if field is None:
        raise RowError(f"expected one of {', '.join(names)}, got {fields_of(row)}")
    ids = (options.id,) if options.id else IDS
    id = next((row[name] for name in ids if row.get(name) is not None), None)
    references = next((row[name] for name in REFERENCES if row.get(name) is not None), None)
    return Record(
        (),
        prompt=prompt_of(row[field], field),
        id=id,
        references=texts_of(references, "references"),
    )
