"""lm-evaluation-harness: `samples_TASK_DATE.jsonl`, written under `--log_samples`.

Tool: lm-evaluation-harness, `lm_eval --log_samples --output_path DIR`.
Version: 0.4.13; the list form of `arguments` is that of versions before 0.4.3.
Fields: `arguments.gen_args_0.arg_0` (the prompt; in chat form JSON of the messages), `resps` (a
    list a request, each of the repeats), `doc_id`, `doc` (the row of the data set, whose category
    is read), `target`, `filter`, `metrics` (names of fields that hold a score); beside it
    `results_DATE.json` with `model_name` and `config.model_args`.
Source: lm_eval/evaluator.py (the rows), lm_eval/loggers/evaluation_tracker.py (names of files).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tofu_eval.core.types import Message
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
    truth_of,
)
from tofu_eval.importers.chat import messages_in

MODEL_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Which of the model's arguments names it, the adapter before its base."""


@importer(
    "lm-eval",
    title="lm-evaluation-harness samples",
    fields=("doc_id", "arguments", "resps"),
)
def lm_eval(file: File) -> Iterator[Record]:
    """A line a document and filter; the responses are what came before the filters."""
    model = _model(file)
    if model:
        file.say(f"model from {model[1]}")
    kept: object = None
    others: dict[str, None] = {}
    for number, row in enumerate(file.rows()):
        filter = row.get("filter")
        if number == 0:
            kept = filter
        elif filter != kept:  # the same responses once more
            others[str(filter)] = None
            continue
        yield from _records(
            row, model[0] if model else None, metadata_in(file, row.get("doc"), row)
        )
    if others:
        file.say(f"filter '{kept}'")
        file.note(f"the lines of the filter '{kept}' are read, not those of {', '.join(others)}")


def _records(row: Row, model: str | None, metadata: Mapping[str, str]) -> Iterator[Record]:
    requests = list_at(row, "resps")
    references = _references(row.get("target"))
    for place, repeats in enumerate(requests):
        texts = repeats if isinstance(repeats, list) else [repeats]
        correct = _correct(row) if len(requests) == len(texts) == 1 else None
        yield Record(
            [_answer(text, correct) for text in texts],
            prompt=_prompt(row, place),
            id=f"{row['doc_id']}/{place}" if len(requests) > 1 else row["doc_id"],
            model=model,
            references=references,
            metadata=metadata,
        )


def _answer(text: object, correct: bool | None) -> Answer:
    if isinstance(text, list):
        raise RowError(
            "'resps' has log-likelihoods of choices, not texts. Give the samples of a task that "
            "generates (output_type: generate_until)"
        )
    if text is not None and not isinstance(text, str):
        raise RowError(f"'resps' must have strings, got {kind_of(text)}")
    return Answer(text, correct=correct)


def _prompt(row: Row, place: int) -> str | Sequence[Message]:
    arguments = row["arguments"]
    if isinstance(arguments, Mapping):
        first = look(arguments, f"gen_args_{place}.arg_0")
    else:
        inner = arguments[place] if isinstance(arguments, list) and place < len(arguments) else None
        first = inner[0] if isinstance(inner, list) and inner else inner
    if not isinstance(first, str):
        raise RowError(f"'arguments.gen_args_{place}.arg_0' must be a string, got {kind_of(first)}")
    return messages_in(first)


def _references(target: object) -> list[str]:
    if isinstance(target, str) and target:
        return [target]
    if isinstance(target, list) and all(isinstance(text, str) for text in target):
        return target
    return []


def _correct(row: Row) -> bool | None:
    """What the first of the row's metrics that is 1 or 0 says."""
    names = row.get("metrics")
    for name in names if isinstance(names, list) else ():
        verdict = truth_of(row.get(name)) if isinstance(name, str) else None
        if verdict is not None:
            return verdict
    return None


def _model(file: File) -> tuple[str, str] | None:
    """The model's name and the file that says it: the results of the same date, or the only."""
    results = file.files_beside("results_*.json")
    date = file.path.name.removesuffix(".gz").removesuffix(".zst").removesuffix(".jsonl")
    same = [path for path in results if date.endswith(path.stem.removeprefix("results_"))]
    for path in same or (results if len(results) == 1 else []):
        for row in file.read(path):
            name = row.get("model_name") or _argument(look(row, "config.model_args"))
            if isinstance(name, str) and name:
                return name, path.name
    return None


def _argument(arguments: Any) -> object:
    if isinstance(arguments, str):
        pairs = (part.partition("=") for part in arguments.split(","))
        arguments = {name.strip(): value for name, _, value in pairs}
    if not isinstance(arguments, Mapping):
        return None
    return next((arguments[name] for name in MODEL_ARGUMENTS if arguments.get(name)), None)
