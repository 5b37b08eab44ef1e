"""vLLM's request outputs, as `LLM.generate` returns them, written down a line each.

Tool: vLLM, `RequestOutput` (by `dataclasses.asdict`, `json.dumps(vars(…))` and the like).
Version: 0.33.
Fields: `prompt`, `outputs[].text`, `.index`, `.finish_reason`, `.cumulative_logprob`; `finished`.
Source: vllm/outputs.py (RequestOutput, CompletionOutput).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    has,
    importer,
    kind_of,
    list_at,
    look,
    metadata_in,
    number_of,
)
from tofu_eval.importers.chat import prompt_of


def _has_completions(row: Row) -> bool:
    outputs = row["outputs"]
    return isinstance(outputs, list) and bool(outputs) and has(outputs[0], "text")


@importer(
    "vllm",
    title="vLLM request outputs",
    fields=("prompt", "outputs"),
    matches=_has_completions,
    columns=("prompt", "outputs", "finished", "model"),
)
def vllm(file: File) -> Iterator[Record]:
    """A line a request; `request_id` numbers requests, so that prompts are known by their text."""
    for row in file.rows():
        if row.get("prompt") is None:
            raise RowError("'prompt' is null: only token ids were sent. Write the text beside them")
        outputs = sorted(list_at(row, "outputs"), key=_index)
        cut = row.get("finished") is False
        yield Record(
            [_answer(output, cut) for output in outputs] or [Answer(None, state="failed")],
            prompt=prompt_of(row["prompt"], "prompt"),
            model=row.get("model"),
            metadata=metadata_in(file, row),
        )


def _index(output: Any) -> int:
    index = look(output, "index")
    return index if isinstance(index, int) else 0


def _answer(output: Any, cut: bool) -> Answer:
    text, reason = look(output, "text"), look(output, "finish_reason")
    if text is not None and not isinstance(text, str):
        raise RowError(f"'text' of an output must be a string, got {kind_of(text)}")
    logprob = number_of(look(output, "cumulative_logprob"))
    return Answer(
        text,
        finish_reason=reason if isinstance(reason, str) else "length" if cut else None,
        logprob=logprob if logprob is not None and logprob <= 0 else None,
    )
