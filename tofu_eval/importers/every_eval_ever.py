"""Every Eval Ever: `UUID_samples.jsonl`.

Tool: every_eval_ever, its instance-level records.
Version: schema 0.3.0.
Fields: `model_id`, `sample_id`, `evaluation_result_id`, `evaluation_name`, `input.raw`,
    `input.reference`, `output.raw` (a text or several), `output.reasoning_trace`, `messages` (of
    conversations), `evaluation.is_correct`.
Source: the project's schema instance_level_eval.schema.json.

A sample stands there once a metric; of each, the rows of the first metric are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    importer,
    look,
    metadata_in,
    texts_of,
    truth_of,
)
from tofu_eval.importers.chat import prompt_of, split_chat


@importer(
    "every-eval-ever",
    title="Every Eval Ever samples",
    fields=("evaluation_id", "model_id", "sample_id", "input"),
)
def every_eval_ever(file: File) -> Iterator[Record]:
    """A row a sample and metric."""
    first: dict[tuple[object, object], tuple[object, object]] = {}
    repeated = 0
    for row in file.rows():
        sample = (row["model_id"], row["sample_id"])
        metric = (row.get("evaluation_result_id"), row.get("evaluation_name"))
        if first.setdefault(sample, metric) != metric:
            repeated += 1
            continue
        yield _record(row, metadata_in(file, row.get("metadata"), row))
    if repeated:
        file.say("one metric's rows")
        file.note(f"{repeated} rows repeat a sample for another metric and are not read")


def _record(row: Row, metadata: Mapping[str, str]) -> Record:
    asked = look(row, "input.raw")
    asked = look(row, "input.formatted") if asked is None else asked
    texts = texts_of(look(row, "output.raw"), "output.raw")
    references = texts_of(look(row, "input.reference"), "input.reference")
    facts: dict[str, Any] = {
        "id": row["sample_id"],
        "model": row["model_id"],
        "references": references,
        "metadata": metadata,
    }
    if not texts and row.get("messages"):
        before, answer = split_chat(row["messages"], "messages")
        return Record([answer], prompt=before, **facts)
    if asked is None:
        raise RowError("expected 'input.raw' or 'messages', got neither")
    thoughts = texts_of(look(row, "output.reasoning_trace"), "output.reasoning_trace")
    if len(thoughts) != len(texts):
        thoughts = ["\n".join(thoughts)] * (len(texts) == 1) or [""] * len(texts)
    correct = truth_of(look(row, "evaluation.is_correct")) if len(texts) == 1 else None
    answers = [
        Answer(text, correct=correct, reasoning=thought or None)
        for text, thought in zip(texts, thoughts, strict=True)
    ]
    prompt = prompt_of(asked, "input.raw")
    return Record(answers or [Answer(None, state="failed")], prompt=prompt, **facts)
