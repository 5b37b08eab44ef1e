"""promptfoo: what `promptfoo eval -o FILE.json` or `.jsonl` writes.

Tool: promptfoo.
Version: results of version 3 (a JSON object) and their rows alone (JSONL).
Fields: of each of `results.results` `prompt.raw` (a text, or JSON of messages), `response.output`,
    `response.error`, `error`, `provider.id` (the model), `success`.
Source: promptfoo's documentation of output formats; not checked in its code.

Each pair of prompt and variables is a prompt; `testIdx` numbers tests, of which repeats are some.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    importer,
    kind_of,
    list_at,
    look,
    metadata_in,
    text_at,
    truth_of,
)
from tofu_eval.importers.chat import messages_in


@importer(
    "promptfoo",
    title="promptfoo results",
    fields=("results.results",),
    or_fields=("provider", "prompt.raw", "response"),
)
def promptfoo(file: File) -> Iterator[Record]:
    """A record a result."""
    for row in file.rows():
        results = list_at(row, "results.results") if "results" in row else [row]
        for result in results:
            if not isinstance(result, Mapping):
                raise RowError(f"a result must be an object, got {kind_of(result)}")
            yield _record(result, metadata_in(file, *_places(result)))


def _places(result: Row) -> list[object]:
    """Where promptfoo puts what is known of a test."""
    return [
        look(result, "testCase.metadata"),
        result.get("metadata"),
        result.get("vars"),
        look(result, "testCase.vars"),
    ]


def _record(result: Row, metadata: Mapping[str, str]) -> Record:
    provider = result.get("provider")
    model = (
        provider if isinstance(provider, str) else look(provider, "label") or look(provider, "id")
    )
    return Record(
        [_answer(result)],
        prompt=messages_in(text_at(result, "prompt.raw")),
        model=model,
        metadata=metadata,
    )


def _answer(result: Row) -> Answer:
    output = look(result, "response.output")
    if look(result, "response.error") or (output is None and result.get("error")):
        return Answer(None, state="failed")
    if isinstance(output, Mapping | list):
        output = json.dumps(output, ensure_ascii=False)  # a format of answers was asked for
    if output is not None and not isinstance(output, str):
        output = str(output)
    reason = look(result, "response.finishReason")
    return Answer(
        output,
        finish_reason=reason if isinstance(reason, str) else None,
        correct=truth_of(result.get("success")),
    )
