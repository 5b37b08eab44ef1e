"""Ray Data LLM: the rows that a vLLM processor writes, mostly to Parquet.

Tool: ray.data.llm (`build_llm_processor` with `vLLMEngineProcessorConfig`).
Version: Ray 2.52.
Fields: `prompt` (after the chat template), `generated_text` (the first output only: Ray drops the
    others of n > 1), `num_generated_tokens` and `params` (whose `max_tokens` tells what was cut),
    `__inference_error__`. `request_id` is unique within a replica only, and not read.
Source: ray/llm/_internal/batch/stages/vllm_engine_stage.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    importer,
    kind_of,
    metadata_in,
)
from tofu_eval.importers.chat import prompt_of

ERROR = "__inference_error__"
LIMIT = re.compile(r"\bmax_tokens=(\d+)")


@importer(
    "ray-llm",
    title="Ray Data LLM rows",
    fields=("prompt", "generated_text"),
    columns=(
        *("prompt", "generated_text", "num_generated_tokens", "params", ERROR),
        *("finish_reason", "model"),
    ),
)
def ray_llm(file: File) -> Iterator[Record]:
    """A row a response."""
    for row in file.rows():
        yield Record(
            [_answer(row)],
            prompt=prompt_of(row["prompt"], "prompt"),
            model=row.get("model"),
            metadata=metadata_in(file, row),
        )


def _answer(row: Row) -> Answer:
    if row.get(ERROR):
        return Answer(None, state="failed")
    text, reason = row["generated_text"], row.get("finish_reason")
    if text is not None and not isinstance(text, str):
        raise RowError(f"'generated_text' must be a string, got {kind_of(text)}")
    if not isinstance(reason, str):
        limit, count = LIMIT.search(str(row.get("params"))), row.get("num_generated_tokens")
        cut = limit is not None and isinstance(count, int) and count >= int(limit[1])
        reason = "length" if cut else None
    return Answer(text, finish_reason=reason)
