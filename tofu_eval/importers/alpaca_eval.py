"""AlpacaEval: the outputs of a model, `model_outputs.json`.

Tool: alpaca_eval, its `--model_outputs`.
Version: 0.6.
Fields: `instruction`, `output`, `generator` (the model).
Source: alpaca_eval/README (format of model outputs).
"""

from __future__ import annotations

from collections.abc import Iterator

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    RowError,
    importer,
    kind_of,
    metadata_in,
    text_at,
)


@importer(
    "alpaca-eval",
    title="AlpacaEval outputs",
    fields=("instruction", "output", "generator"),
    columns=("instruction", "output", "generator"),
)
def alpaca_eval(file: File) -> Iterator[Record]:
    """An element an output."""
    for row in file.rows():
        text = row["output"]
        if text is not None and not isinstance(text, str):
            raise RowError(f"'output' must be a string, got {kind_of(text)}")
        yield Record(
            [Answer(text)],
            prompt=text_at(row, "instruction"),
            model=row["generator"],
            metadata=metadata_in(file, row),
        )
