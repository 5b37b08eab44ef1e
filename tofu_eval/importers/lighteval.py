"""lighteval: `details/MODEL/DATE/details_TASK_DATE.parquet`.

Tool: lighteval, `--save-details`.
Version: 0.11, the three columns `doc`, `metric`, `model_response`.
Fields: `doc.query`, `doc.id`, `doc.choices` and `doc.gold_index` (the references), `metric.*`;
    `model_response.text` (one a sample), `.text_post_processed` (without its reasoning, where that
    was taken out), `.reasonings`, `.logprobs`, `.input` (the prompt as sent). The model's
    name is in the path only.
Source: lighteval/logging/evaluation_tracker.py, lighteval/logging/info_loggers.py (Detail),
    lighteval/models/model_output.py (ModelResponse).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    importer,
    look,
    metadata_in,
    number_of,
    text_at,
    texts_of,
    truth_of,
)

DETAILS = "details"
"""The folder below which the folders are called as the model is."""


@importer(
    "lighteval",
    title="lighteval details",
    fields=("doc.query", "model_response.text"),
    columns=(
        *("doc.query", "doc.id", "doc.choices", "doc.gold_index", "metric"),
        *("doc.specific", "doc.task_name"),
        *("model_response.text", "model_response.text_post_processed"),
        *("model_response.reasonings", "model_response.logprobs", "model_response.input"),
    ),
)
def lighteval(file: File) -> Iterator[Record]:
    """A row a document, with all its samples."""
    model = _model(file)
    if model:
        file.say("model from the path")
    for row in file.rows():
        sent = look(row, "model_response.input")
        yield Record(
            _answers(row),
            prompt=text_at(row, "doc.query"),
            id=look(row, "doc.id"),
            model=model,
            references=_references(row),
            sent=sent if isinstance(sent, str) else None,
            metadata=metadata_in(file, look(row, "doc.specific"), row.get("doc"), row),
        )


def _answers(row: Row) -> list[Answer]:
    response = row["model_response"]
    raw = texts_of(response.get("text"), "model_response.text")
    clean = texts_of(response.get("text_post_processed"), "model_response.text_post_processed")
    texts = clean if len(clean) == len(raw) else raw
    thoughts = _each(response.get("reasonings"), len(texts))
    logprobs = [_logprob(value) for value in _each(response.get("logprobs"), len(texts))]
    correct = _correct(row) if len(texts) == 1 else None
    return [
        Answer(text, logprob=logprob, correct=correct, reasoning=thought or None)
        for text, logprob, thought in zip(texts, logprobs, thoughts, strict=True)
    ] or [Answer(None, state="failed")]


def _each(values: object, count: int) -> list[Any]:
    """A value a response, where there are as many."""
    return values if isinstance(values, list) and len(values) == count else [None] * count


def _logprob(value: object) -> float | None:
    number = number_of(value)
    return number if number is not None and number <= 0 else None


def _references(row: Row) -> list[str]:
    choices = texts_of(look(row, "doc.choices"), "doc.choices")
    gold = look(row, "doc.gold_index")
    places = gold if isinstance(gold, list) else [gold]
    return [
        choices[place] for place in places if isinstance(place, int) and 0 <= place < len(choices)
    ]


def _correct(row: Row) -> bool | None:
    """What the first metric that is 1 or 0 says."""
    metrics = row.get("metric")
    values = metrics.values() if isinstance(metrics, Mapping) else ()
    return next((v for v in map(truth_of, values) if v is not None), None)


def _model(file: File) -> str | None:
    folders = file.path.absolute().parent.parts
    if DETAILS not in folders:
        return None
    below = folders[len(folders) - folders[::-1].index(DETAILS) :]
    return "/".join(below[:-1] if len(below) > 1 else below) or None
