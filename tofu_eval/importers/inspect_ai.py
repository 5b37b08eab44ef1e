"""Inspect's logs: `.eval` (a ZIP, packed with Zstandard since 2026) and `.json`.

Tool: inspect_ai, `inspect eval`, `inspect log convert`.
Version: 0.3.285, log format version 2.
Fields: `eval.model`, `eval.model_generate_config.num_choices`, `status`; of each of `samples`:
    `id` and `epoch` (from 1), `input` (a text or messages), `output.choices[].message.content` (a
    text or parts, those of type `reasoning` are thoughts) and `.stop_reason`, `output.error`,
    `target`, `metadata` (whose category is read), `scores.SCORER.value` ("C", "I" or a number),
    `error`.
Source: inspect_ai/log/_log.py (EvalLog, EvalSample), inspect_ai/log/_recorders/eval.py (the ZIP),
    inspect_ai/model/_model_output.py.
"""

from __future__ import annotations

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
    texts_of,
    truth_of,
)
from tofu_eval.importers.chat import answer_of, prompt_of

LETTERS = {"C": True, "I": False}


@importer("inspect", title="Inspect log", fields=("eval.model", "samples"))
def inspect(file: File) -> Iterator[Record]:
    """The samples of a log; each epoch is one of the responses to a prompt."""
    status: object = None
    for log in file.rows():
        status = log.get("status", status)
        model = look(log, "eval.model")
        choices = look(log, "eval.model_generate_config.num_choices")
        for sample in list_at(log, "samples"):
            if not isinstance(sample, Mapping):
                raise RowError(f"a sample must be an object, got {kind_of(sample)}")
            known = metadata_in(file, sample.get("metadata"), sample)
            yield _record(sample, model, choices if isinstance(choices, int) else None, known)
    if status not in (None, "success"):
        file.note(f"its status is '{status}': samples may be missing")


def _record(
    sample: Row, model: str | None, choices: int | None, metadata: Mapping[str, str]
) -> Record:
    answers = _answers(sample)
    epoch = sample.get("epoch", 1)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise RowError(f"'epoch' must be a whole number from 1, got {kind_of(epoch)}")
    return Record(
        answers,
        prompt=prompt_of(sample.get("input"), "input"),
        id=sample.get("id"),
        model=model,
        references=[text for text in texts_of(sample.get("target"), "target") if text],
        first=(epoch - 1) * (choices or len(answers)),
        metadata=metadata,
    )


def _answers(sample: Row) -> list[Answer]:
    if sample.get("error") or look(sample, "output.error"):
        return [Answer(None, state="failed")]
    choices = look(sample, "output.choices") or []
    if not isinstance(choices, list):
        raise RowError(f"'output.choices' must be a list, got {kind_of(choices)}")
    correct = _correct(sample) if len(choices) == 1 else None
    answers = [
        answer_of(
            look(choice, "message"), finish_reason=look(choice, "stop_reason"), correct=correct
        )
        for choice in choices
    ]
    return answers or [Answer(look(sample, "output.completion") or None, state="failed")]


def _correct(sample: Row) -> bool | None:
    """What the first scorer that says right or wrong says."""
    scores = sample.get("scores")
    for score in scores.values() if isinstance(scores, Mapping) else ():
        value = look(score, "value")
        verdict = LETTERS.get(value) if isinstance(value, str) else truth_of(value)
        if verdict is not None:
            return verdict
    return None
