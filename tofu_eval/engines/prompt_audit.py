"""What the prompts really become, and whether the model can have meant that.

The faults that silently spoil a comparison: a beginning-of-sequence token twice or not at all, a
prompt that was cut, a chat template that is missing or not the base's, ends that disagree.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Request, digest
from tofu_eval.engines.prompts import Encoder

TAIL = 12
"""Letters at the end of a prompt that must be found again in its tokens."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a model's prompts; a fatal one makes its responses worthless."""

    fatal: bool
    model: str
    text: str

    def __str__(self) -> str:
        return f"{self.model}: {self.text}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt as the model gets it."""

    model: str
    task: str
    prompt_id: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]


def findings(encoder: Encoder, requests: Iterable[Request]) -> list[Finding]:
    """What is remarkable about one model's prompts, each kind once, the fatal ones first."""
    by_kind: dict[str, Finding] = {}
    seen = set()
    for request in requests:
        if (asked := (request.text, request.messages)) in seen:
            continue
        seen.add(asked)
        for kind, fatal, text in _of_prompt(encoder, request):
            by_kind.setdefault(kind, Finding(fatal, encoder.name, text))
    eos = encoder.tokenizer.eos_token_id
    if encoder.configured and eos is not None and eos not in encoder.configured:
        by_kind["ends"] = Finding(
            False,
            encoder.name,
            f"the tokenizer ends with token {eos}, the generation config with "
            f"{', '.join(map(str, encoder.configured))}; a response ends at any of them",
        )
    return sorted(by_kind.values(), key=lambda finding: not finding.fatal)


def _of_template(encoder: Encoder, request: Request) -> Iterable[tuple[str, str]]:
    """(kind, words) of what a chat template does by itself."""
    if encoder.reads_clock():
        day = request.date or "today"
        yield "clock", f"its chat template reads the clock; it is told the run's date, {day}"
    if not encoder.has_generation_prompt(request):
        yield (
            "no generation prompt",
            "its chat template has no generation prompt: the model must begin the answer's turn "
            "itself",
        )
    for name in encoder.unknown_kwargs():
        yield f"kwarg {name}", f"its chat template knows no '{name}', which changes nothing there"


def differing_templates(encoders: Mapping[str, Encoder]) -> list[Finding]:
    """A remark for each model whose chat template is not the first model's."""
    templates = {name: e.tokenizer.chat_template for name, e in encoders.items()}
    first = next(iter(templates), "")
    return [
        Finding(False, name, f"its chat template differs from that of {first}")
        for name, template in templates.items()
        if template != templates[first]
    ]


def samples(encoder: Encoder, requests: Iterable[Request], first: int) -> list[Sample]:
    """The first prompts of each task, token by token.

    Raises:
        ModelError: a prompt cannot be put to the model.
    """
    by_task: dict[tuple[str, str], Sample] = {}
    taken: dict[str, int] = {}
    for request in requests:
        place = (request.task, request.prompt_id)
        if place in by_task or taken.get(request.task, 0) >= first:
            continue
        ids = encoder.encode(request)
        tokens = [encoder.tokenizer.decode([id]) for id in ids]
        by_task[place] = Sample(encoder.name, *place, tuple(ids), tuple(tokens))
        taken[request.task] = taken.get(request.task, 0) + 1
    return list(by_task.values())


def check(engine: Any, requests: Sequence[Request]) -> list[str]:
    """The short form at the start of a run: remarks; of an engine that does not tokenize, none.

    Raises:
        ModelError: the first fatal finding.
    """
    encoders: Mapping[str, Encoder] = getattr(engine, "encoders", {})
    remarks = []
    for name, encoder in encoders.items():
        mine = [request for request in requests if request.model == name]
        faults = findings(encoder, mine)
        if faults and faults[0].fatal:
            raise ModelError(
                f"{faults[0]}. Look at the prompts: tofu-eval audit --model {name}=… --task …"
            )
        remarks += [str(finding) for finding in faults]
        if any(request.messages is not None for request in mine):
            engine.record["chat_template"] = digest(encoder.tokenizer.chat_template)[:12]
    return remarks


def _of_prompt(encoder: Encoder, request: Request) -> Iterable[tuple[str, bool, str]]:
    """(kind, fatal, words) of what one prompt shows."""
    try:
        ids = encoder.encode(request)
    except ModelError as error:
        yield "refused", True, str(error).rstrip(".")
        return
    where = f"prompt '{request.prompt_id}' of task '{request.task}'"
    bos = encoder.tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        yield (
            "doubled",
            True,
            (
                f"{where} begins with the beginning-of-sequence token {bos} twice; take it out "
                "of the chat template or the prompt format"
            ),
        )
    elif bos is not None and ids[0] != bos:
        yield "missing", False, f"{where} begins without the beginning-of-sequence token {bos}"
    if typed := encoder.typed_tokens(request):
        yield (
            "typed",
            False,
            f"{where} holds '{typed[0]}', a special token, as text; it stays text",
        )
    if request.messages is not None:
        for kind, words in _of_template(encoder, request):
            yield kind, False, words
    elif encoder.template_kwargs:
        yield (
            "kwargs",
            False,
            f"{where} is not in the format chat: --chat-template-kwarg changes nothing there",
        )
    if encoder.opens_thought(request):
        yield (
            "thought",
            False,
            "the prompt ends within a thought that its template opens; what comes before the "
            "thought's end is kept as reasoning, not scored",
        )
    for text in request.sampling.stop:
        if encoder.is_special(text):
            yield (
                f"stop {text}",
                False,
                f"the stop string '{text}' is a special token, which no text holds; it never stops",
            )
    if lost := _find_lost_end(encoder, request, ids):
        yield "cut", True, f"{where} lacks its end '{lost}' once it is tokens: it was cut"


def _find_lost_end(encoder: Encoder, request: Request, ids: Sequence[int]) -> str:
    """The end of a prompt that its tokens do not hold; empty where they do, or cannot tell."""
    unknown = encoder.tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        return ""
    text = _fold(encoder.tokenizer.decode(ids))
    parts = [request.text or ""] if request.messages is None else [
        message.content for message in request.messages
    ]  # fmt: skip
    return next((p[-40:] for p in parts if _fold(p)[-TAIL:] not in text), "")


def _fold(text: str) -> str:
    """Letters and digits alone, as tokenizers that fold case and spaces leave them."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum())
