"""HELM: `scenario_state.json` of a run.

Tool: crfm-helm, `helm-run`.
Version: 0.5.
Fields: `adapter_spec.model`; of each of `request_states`: `instance.id`, `.input.text`,
    `.perturbation.name`, `.references[].output.text` with the tag `correct`, `train_trial_index`,
    `request.prompt` (the same after the examples that were shown) or `request.messages`,
    `result.success`, `result.completions[].text`, `.logprob`, `.finish_reason.reason`,
    `.thinking.text`.
Source: helm/benchmark/adaptation/scenario_state.py, helm/benchmark/adaptation/request_state.py,
    helm/common/request.py.

The prompt is the instance's own text: which examples stand before it in `request.prompt` depends
on the model's window, so that two models would seem to have been asked different things.
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
    kind_of,
    list_at,
    look,
    metadata_in,
    number_of,
)
from tofu_eval.importers.chat import content_of, prompt_of


@importer("helm", title="HELM scenario state", fields=("adapter_spec", "request_states"))
def helm(file: File) -> Iterator[Record]:
    """A record a request; further trials and perturbations of an instance are other prompts."""
    for state in file.rows():
        model = look(state, "adapter_spec.model") or look(state, "adapter_spec.model_deployment")
        for request in list_at(state, "request_states"):
            if not isinstance(request, Mapping):
                raise RowError(f"a request state must be an object, got {kind_of(request)}")
            known = metadata_in(file, request.get("instance"), look(request, "instance.extra_data"))
            yield _record(request, model, known)


def _record(state: Row, model: str | None, metadata: Mapping[str, str]) -> Record:
    sent = look(state, "request.prompt")
    text = look(state, "instance.input.text")
    messages = look(state, "request.messages") or look(state, "instance.input.messages")
    asked = text or messages or sent
    if asked is None:
        raise RowError("expected 'instance.input.text' or 'request.prompt', got neither")
    return Record(
        _answers(state),
        prompt=prompt_of(asked, "instance.input"),
        id=_id(state),
        model=model or look(state, "request.model"),
        references=_references(state),
        sent=sent if isinstance(sent, str) and sent else None,
        metadata=metadata,
    )


def _id(state: Row) -> str | None:
    id, trial = look(state, "instance.id"), state.get("train_trial_index")
    if id is None:
        return None
    perturbation = look(state, "instance.perturbation.name")
    parts = [
        str(id),
        *([f"trial-{trial}"] if trial else []),
        *([perturbation] if perturbation else []),
    ]
    return "/".join(parts)


def _answers(state: Row) -> list[Answer]:
    result = state.get("result")
    completions = look(result, "completions")
    if result is None or look(result, "success") is False or not completions:
        return [Answer(None, state="failed")]
    if not isinstance(completions, list):
        raise RowError(f"'result.completions' must be a list, got {kind_of(completions)}")
    return [_answer(completion) for completion in completions]


def _answer(completion: Any) -> Answer:
    text, _ = content_of(look(completion, "text"))
    logprob = number_of(look(completion, "logprob"))
    reason = look(completion, "finish_reason.reason")
    thought = look(completion, "thinking.text")
    return Answer(
        text,
        finish_reason=reason if isinstance(reason, str) else None,
        # 0 stands for unknown: no text is certain.
        logprob=logprob if logprob is not None and logprob < 0 else None,
        reasoning=thought if isinstance(thought, str) else None,
    )


def _references(state: Row) -> list[str]:
    references = look(state, "instance.references")
    return [
        text
        for reference in (references if isinstance(references, list) else [])
        if "correct" in (look(reference, "tags") or ())
        and isinstance(text := look(reference, "output.text"), str)
    ]
