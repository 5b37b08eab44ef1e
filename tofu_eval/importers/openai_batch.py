"""OpenAI's Batch API and `vllm run-batch`: the output file, joined with its input file.

Tool: OpenAI Batch API (output and error file), `vllm run-batch -i INPUT -o OUTPUT`.
Version: endpoints /v1/chat/completions, /v1/completions and /v1/responses; vLLM 0.33.
Fields: `custom_id`, `response.status_code`, `error`, `response.body.model`; of each of
    `response.body.choices` `index`, `message.content` or `text`, `message.reasoning_content`,
    `finish_reason`; of /v1/responses `response.body.output[]`, `.status`,
    `.incomplete_details.reason`. Of the input file `custom_id`, `body.messages`, `body.prompt` or
    `body.input`, `body.n`.
Source: platform.openai.com/docs/api-reference/batch; vllm/entrypoints/launchers/run_batch.py
    (BatchRequestInput, BatchRequestOutput).

The prompts stand in the input file only: it is given by --prompts, or lies in the same folder.
Requests with the same messages are samples of one prompt, in the order of the input file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import TofuEvalError
from tofu_eval.core.types import Message
from tofu_eval.importers.base import (
    Answer,
    File,
    Record,
    Row,
    RowError,
    has,
    importer,
    kind_of,
    look,
)
from tofu_eval.importers.chat import answer_of, prompt_of


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the input file: its prompt, and where its responses stand among the prompt's."""

    prompt: str | tuple[Message, ...]
    id: str
    model: str | None
    first: int
    count: int


@importer("openai-batch", title="OpenAI batch output", fields=("custom_id", "response"))
def openai_batch(file: File) -> Iterator[Record]:
    """A line a request, in whatever order they came back; a failed one has failed responses."""
    requests = _requests(file)
    names = {name for row in file.rows() if (name := look(row, "response.body.model"))}
    only = names.pop() if len(names) == 1 else None  # a failed request does not say its model
    unknown = 0
    for row in file.rows():
        name = row["custom_id"]
        if not isinstance(name, str):
            raise RowError(f"'custom_id' must be a string, got {kind_of(name)}")
        request = requests.get(name)
        unknown += request is None
        yield _record(row, name, request, only)
    if requests and unknown:
        file.note(f"{unknown} requests are not in the input file; their prompts are unknown")


def is_input(row: object) -> bool:
    """Whether a row is one of a batch's input file."""
    return has(row, "custom_id") and has(row, "body") and not has(row, "response")


def asked_in(body: Row) -> str | tuple[Message, ...]:
    """The prompt of a request's body.

    Raises:
        RowError: it has none.
    """
    before: tuple[Message, ...] = ()
    if isinstance(body.get("instructions"), str):
        before = (Message("system", body["instructions"]),)
    for field in ("messages", "prompt", "input"):
        if body.get(field) is not None:
            asked = prompt_of(body[field], f"body.{field}")
            if before and isinstance(asked, str):
                asked = (Message("user", asked),)
            return asked if isinstance(asked, str) else (*before, *asked)
    raise RowError("expected 'body.messages', 'body.prompt' or 'body.input', got none of them")


def _record(row: Row, name: str, request: Request | None, only: str | None) -> Record:
    answers = _answers(row)
    model = look(row, "response.body.model") or only
    if request is None:
        return Record(answers, id=name, model=model)
    if len(answers) < request.count and answers[0].state == "failed":
        answers = answers * request.count
    return Record(
        answers,
        prompt=request.prompt,
        id=request.id,
        model=model or request.model,
        first=request.first,
    )


def _answers(row: Row) -> list[Answer]:
    body = look(row, "response.body")
    status = look(row, "response.status_code")
    if row.get("error") or not isinstance(body, Mapping) or status not in (None, 200):
        return [Answer(None, state="failed")]
    if isinstance(body.get("output"), list):
        return [_response(body)]
    choices = body.get("choices")
    if not isinstance(choices, list):
        raise RowError(f"'response.body.choices' must be a list, got {kind_of(choices)}")
    ordered = sorted(choices, key=_index)
    return [_choice(choice) for choice in ordered] or [Answer(None, state="failed")]


def _index(choice: Any) -> int:
    index = look(choice, "index")
    return index if isinstance(index, int) else 0


def _choice(choice: Any) -> Answer:
    reason = look(choice, "finish_reason")
    message = look(choice, "message")
    if message is not None:
        return answer_of(message, finish_reason=reason)
    text = look(choice, "text")
    if text is not None and not isinstance(text, str):
        raise RowError(f"'text' of a choice must be a string, got {kind_of(text)}")
    return Answer(text, finish_reason=reason)


def _response(body: Row) -> Answer:
    """A response of /v1/responses: its messages' texts, and the summaries of its reasoning."""
    parts: list[Any] = []
    for item in body["output"]:
        kind = look(item, "type")
        content = look(item, "content")
        if kind == "reasoning":
            parts.append({"type": "reasoning", "summary": look(item, "summary") or []})
        elif kind == "message" and isinstance(content, list):
            parts += content
    reason = look(body, "incomplete_details.reason")
    return answer_of({"content": parts}, finish_reason=reason or "stop")


def _requests(file: File) -> dict[str, Request]:
    """The requests of the input file that belongs to this one, by their names."""
    path = file.options.prompts or _input_beside(file)
    if path == file.options.prompts and path and not is_input(next(file.read(path), None)):
        return {}  # a plain file of prompts, by their ids
    if path is None:
        file.note(
            "its prompts are not in it and no input file lies beside it, so that prompts are "
            "known by their ids only; name it: --prompts batch_input.jsonl"
        )
        return {}
    file.say(f"prompts from {path.name}")
    return _read_requests(file.read(path))


def _read_requests(rows: Iterator[Row]) -> dict[str, Request]:
    requests: dict[str, Request] = {}
    first: dict[object, tuple[str, int]] = {}
    for row in rows:
        if not is_input(row):
            raise RowError("expected 'custom_id' and 'body', as a batch's input file has them")
        name, prompt = row["custom_id"], asked_in(row["body"])
        count = look(row, "body.n")
        count = count if isinstance(count, int) and count > 0 else 1
        id, before = first.get(prompt, (name, 0))
        if name in requests:
            raise RowError(f"'custom_id' {name} stands twice")
        model = look(row, "body.model")
        requests[name] = Request(prompt, id, model, before, count)
        first[prompt] = (id, before + count)
    return requests


def _input_beside(file: File) -> Path | None:
    """The input file in the same folder that has this file's first request."""
    wanted = next((row.get("custom_id") for row in file.rows()), None)
    for path in file.files_beside("*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.json"):
        if _asks_for(file, path, wanted):
            return path
    return None


def _asks_for(file: File, path: Path, wanted: object) -> bool:
    try:
        for row in file.read(path):
            if not is_input(row):
                return False
            if row["custom_id"] == wanted:
                return True
    except TofuEvalError:  # not ours to complain of
        return False
    return False
