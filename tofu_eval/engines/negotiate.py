"""What a server takes and what it ignores: found out with a few requests, before the run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import openai

from tofu_eval.core.servers import Malformed, Refused, status_of, what
from tofu_eval.core.types import ALWAYS_OFF, NEUTRAL_SAMPLING, Request
from tofu_eval.engines.server_answer import Answer

Ask = Callable[[Request, Mapping[str, Any]], Awaitable[Answer]]

SHORT = 64
"""Tokens of a request that only compares texts; a model that thinks gets all that the run gives."""

PROMPTS_TRIED = 4
"""Prompts that a server may refuse for what they say, before its refusal is taken for all."""

BEYOND = ("top_k", "min_p", "repetition_penalty", "return_token_ids")
"""What is not in OpenAI's own interface: sent in the body beside it."""

INFORMATION = ("return_token_ids", "logprobs", "seed", "stop")
"""What a run can do without: stop strings are cut here too."""

LEAST_KNOWN = (*BEYOND, *ALWAYS_OFF, "logprobs", "top_p", "temperature", "seed")
"""What is tried without, in this order, where a refusal names nothing."""


class NotTaken(Exception):
    """The server does not take a setting that the run cannot do without; says which."""


@dataclass
class Terms:
    """What is sent to one endpoint.

    `left_out` are the parameters that the server refuses; `seed` says what it makes of one:
    "honoured", "ignored", "refused", "fixed" (all seeds gave one text; it is then left out),
    "not sent" (the run wants none), "undetermined" or "not needed". With `several`, one request
    may ask for all samples of a prompt. `echoes` says that its texts begin with the prompt.
    """

    chat: bool
    body: Mapping[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    length: str = "max_tokens"
    seed: str = "not needed"
    several: bool = False
    echoes: bool = False
    remarks: list[str] = field(default_factory=list)

    def arguments(self, request: Request, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of the client's `create`, every decoder setting spelled out."""
        named = {**self._wanted_fields(request), **changes}
        named[self.length] = named.pop("max_tokens")
        if self.seed in ("fixed", "not sent"):
            named.pop("seed")
        kept = {k: v for k, v in named.items() if k not in self.left_out and v not in (None, [])}
        beyond = {name: kept.pop(name) for name in BEYOND if name in kept}
        extra = {**beyond, **{k: v for k, v in self.body.items() if k not in self.left_out}}
        return {**kept, "extra_body": extra} if extra else kept

    def may_leave_out(self, name: str, request: Request) -> bool:
        """Whether the run's answers stay what they should be without this parameter."""
        if name in self.left_out:
            return False
        wanted = self._wanted_fields(request).get(name)
        return name in INFORMATION or (
            name in NEUTRAL_SAMPLING and wanted == NEUTRAL_SAMPLING[name]
        )

    def describe(self) -> dict[str, Any]:
        """For the run's record."""
        sent = {k: v for k, v in ALWAYS_OFF.items() if k not in self.left_out}
        return {
            "sampling": sent,
            "left_out": self.left_out,
            "seed": self.seed,
            "n": "the samples of a prompt" if self.several else "one request a sample",
        }

    def _wanted_fields(self, request: Request) -> dict[str, Any]:
        decoder = request.sampling.decoder()
        return {
            **ALWAYS_OFF,
            **decoder,
            "stop": list(request.sampling.stop),
            "n": 1,
            "seed": request.seed,
            "return_token_ids": True,
            "logprobs": True if self.chat else 1,
        }


async def negotiate(
    ask: Ask, requests: Sequence[Request], *, body: Mapping[str, Any], seeds: bool = True
) -> Terms:
    """The terms for one endpoint.

    Args:
        ask: sends one request with these arguments.
        requests: of the run, to that endpoint; all in the form that the run asks in.
        body: what the user wants in every request's body.
        seeds: whether requests carry seeds.

    Raises:
        NotTaken: the server does not take a setting that the run cannot do without.
        openai.APIStatusError, Refused, Malformed: it refuses whatever is left out.
    """
    terms = Terms(chat=requests[0].messages is not None, body=body)
    if not seeds:
        terms.seed = "not sent"
    request, first = await _first_answer(ask, requests, terms)
    if "stop" in terms.left_out:
        terms.remarks.append("the server takes no stop strings; its texts are cut here")
    if refused := [name for name in terms.left_out if name in NEUTRAL_SAMPLING]:
        terms.remarks.append(
            f"the server does not take {', '.join(refused)}; its own defaults are in force"
        )
    if len(first.prompt_ids) > 1 and first.prompt_ids[0] == first.prompt_ids[1]:
        terms.remarks.append(
            f"the server's prompt begins with the token {first.prompt_ids[0]} twice: a doubled "
            "beginning-of-sequence token?"
        )
    texts = [_text(first)]
    if request.sampling.temperature > 0:
        texts += await _try_seeds(ask, request, terms, first)
    if terms.seed in ("ignored", "refused", "fixed", "not sent"):
        await _try_several(ask, request, terms)
    prompt = request.text or ""
    if prompt.strip() and len(texts) > 1 and all(text.startswith(prompt) for text in texts):
        terms.echoes = True
        terms.remarks.append("the server's texts begin with the prompt; it is cut from them")
    return terms


async def _first_answer(
    ask: Ask, requests: Sequence[Request], terms: Terms
) -> tuple[Request, Answer]:
    """The first prompt that is answered, and its answer: some are refused for what they say."""
    different: dict[object, Request] = {}
    for request in requests:
        different.setdefault((request.text, request.messages), request)
        if len(different) == PROMPTS_TRIED:
            break
    error: Exception | None = None
    start = terms.seed
    for request in different.values():
        try:
            return request, await _ask_until_accepted(ask, request, terms)
        except (openai.APIStatusError, Refused) as refusal:
            if status_of(refusal) not in (400, 413, 422):
                raise
            error = error or refusal
            terms.left_out.clear()
            terms.length = "max_tokens"
            terms.seed = start
    assert error is not None  # noqa: S101 - there is at least one request
    raise error


async def _ask_until_accepted(ask: Ask, request: Request, terms: Terms) -> Answer:
    """The first answer; what the server refuses is left out, and noted."""
    while True:
        try:
            return await ask(request, terms.arguments(request))
        except (openai.APIStatusError, Refused) as error:
            if status_of(error) not in (400, 422) or not _leave_out(terms, request, error):
                raise


def _leave_out(terms: Terms, request: Request, error: Exception) -> bool:
    """Drop what a refusal names, or else what servers know least; False where nothing is left.

    Raises:
        NotTaken: it names a setting of the run's.
    """
    said = what(error)
    if "max_completion_tokens" in said and terms.length == "max_tokens":
        terms.length = "max_completion_tokens"
        return True
    named = _find_named(error, said, terms)
    if named is None:
        return False
    free = [name for name in named if terms.may_leave_out(name, request)]
    if free:
        # Of two that exclude each other one is enough, and what the user set stays.
        terms.left_out += free[-1:] if "both" in said else free
    elif asked := [f"{n} {v:g}" for n in named if (v := _read_penalty(request, n)) is not None]:
        raise NotTaken(
            f"does not take {' and '.join(asked)}: {said}. Ask for what it takes, such as "
            "--temperature 1 --top-p 1"
        ) from error
    elif named:
        return False
    else:
        unnamed = [name for name in LEAST_KNOWN if terms.may_leave_out(name, request)]
        if not unnamed:
            return False
        terms.left_out += [name for name in unnamed if name in BEYOND] or unnamed[:1]
    if "seed" in terms.left_out:
        terms.seed = "refused"
    return True


def _find_named(error: Exception, said: str, terms: Terms) -> list[str] | None:
    """The parameters that a refusal names; None where it is about the prompt or its length."""
    names = [n for n in (*NEUTRAL_SAMPLING, *INFORMATION) if n not in terms.left_out]
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    param = inner.get("param") if isinstance(inner, dict) else None
    if param in names:
        return [str(param)]
    if kind_of_refusal(error) != "other" or "max_tokens" in said:
        return None
    return [name for name in names if re.search(rf"\b{name}\b", said)]


def kind_of_refusal(error: Exception) -> str:
    """What a prompt is refused for: "filtered" (what it says), "too long", or "other"."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else getattr(error, "code", None)
    said = f"{code or ''} {what(error)}".lower()
    if re.search(r"content_filter|content management|content_policy|moderation|flagged", said):
        return "filtered"
    if re.search(r"context_length|context length|too long|too many tokens|too large", said):
        return "too long"
    return "other"


def _read_penalty(request: Request, name: str) -> float | None:
    value = request.sampling.decoder().get(name)
    return None if value is None or value == NEUTRAL_SAMPLING.get(name) else float(value)


async def _try_seeds(ask: Ask, request: Request, terms: Terms, first: Answer) -> list[str]:
    """Equal seeds must give equal texts, different ones different texts; the texts that came."""
    if terms.seed == "refused":
        terms.remarks.append("the server takes no seed; its rows cannot be made again alike")
        return []
    if terms.seed == "not sent":
        return []
    limit = request.sampling.max_tokens
    tokens = await _short_enough(ask, request, terms, first)

    async def text(**changes: Any) -> str:
        return _text(await ask(request, terms.arguments(request, max_tokens=tokens, **changes)))

    start = _text(first) if tokens == limit else await text()
    if not start:
        terms.seed = "undetermined"
        return [start]
    again = await text()
    if again != start:
        terms.seed = "ignored"
        terms.remarks.append("the server ignores the seed; its rows cannot be made again alike")
        return [start, again]
    others = [await text(seed=(request.seed + step) % 2**31) for step in (1, 2)]
    texts = [start, again, *others]
    if set(others) != {start}:
        terms.seed = "honoured"
        return texts
    free = [await text(seed=None) for _ in range(2)]
    if set(free) != {start}:
        terms.seed = "fixed"
        terms.remarks.append("the server gives one text for every seed; none is sent")
    else:
        terms.seed = "undetermined"  # it may be sure of its answer, or greedy, or keep answers
    return [*texts, *free]


async def _short_enough(ask: Ask, request: Request, terms: Terms, first: Answer) -> int:
    """Tokens that are enough for a text; a model that thinks needs all that the run gives it."""
    limit = request.sampling.max_tokens
    if limit <= SHORT or first.choices[0].reasoning is not None or not _text(first):
        return limit
    try:
        answer = await ask(request, terms.arguments(request, max_tokens=SHORT))
    except (openai.APIStatusError, Refused, Malformed):
        return limit
    return SHORT if _text(answer) else limit


async def _try_several(ask: Ask, request: Request, terms: Terms) -> None:
    """Whether `n` gives so many choices; where seeds decide nothing, one prefill is enough."""
    tokens = min(request.sampling.max_tokens, SHORT)
    try:
        answer = await ask(request, terms.arguments(request, n=2, max_tokens=tokens))
    except (openai.APIStatusError, Refused, Malformed):
        return
    terms.several = len(answer.choices) == 2 and len({c.text for c in answer.choices}) == 2


def _text(answer: Answer) -> str:
    choice = answer.choices[0]
    return f"{choice.reasoning or ''}{choice.text or ''}"
