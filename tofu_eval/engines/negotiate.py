"""What a server takes and what it ignores: found out with a few short requests, before the run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from tofu_eval.core.servers import what
from tofu_eval.core.types import NEUTRAL_SAMPLING, Request

Ask = Callable[[Mapping[str, Any]], Awaitable[Any]]

PROBE_TOKENS = 16
BEYOND = ("top_k", "min_p", "repetition_penalty", "return_token_ids")
"""What is not in OpenAI's own interface: sent in the body beside it."""

OPTIONAL = (*BEYOND, "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "seed")


@dataclass
class Terms:
    """What is sent to one endpoint.

    `left_out` are the parameters that the server refuses; `seed` says what it makes of one:
    "honoured", "ignored", "refused", "fixed" (all seeds gave one text; it is then left out),
    "undetermined" or "not needed".
    """

    chat: bool
    left_out: list[str] = field(default_factory=list)
    length: str = "max_tokens"
    seed: str = "not needed"
    remarks: list[str] = field(default_factory=list)

    def arguments(self, request: Request, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of the client's `create`, every decoder setting spelled out."""
        decoder = request.sampling.decoder()
        named: dict[str, Any] = {
            "temperature": decoder["temperature"],
            "top_p": decoder["top_p"],
            "n": 1,
            "seed": request.seed,
            "return_token_ids": True,
            **({"logprobs": True} if self.chat else {"logprobs": 1}),
            **NEUTRAL_SAMPLING,
            "max_tokens": decoder["max_tokens"],
            **changes,
        }
        named[self.length] = named.pop("max_tokens")
        if self.seed == "fixed":
            named.pop("seed")
        kept = {k: v for k, v in named.items() if k not in self.left_out and v is not None}
        beyond = {name: kept.pop(name) for name in BEYOND if name in kept}
        return {**kept, "extra_body": beyond} if beyond else kept

    def described(self) -> dict[str, Any]:
        """For the run's record."""
        sent = {k: v for k, v in NEUTRAL_SAMPLING.items() if k not in self.left_out}
        return {
            "sampling": sent,
            "left_out": self.left_out,
            "seed": self.seed,
            "n": "one request a sample",
        }


async def negotiate(ask: Ask, request: Request) -> Terms:
    """The terms for the endpoint of `request`.

    Raises:
        openai.APIStatusError: the server refuses the request whatever is left out.
    """
    terms = Terms(chat=request.messages is not None)
    first = await _accepted(ask, request, terms)
    refused = [name for name in terms.left_out if name in NEUTRAL_SAMPLING]
    if refused:
        terms.remarks.append(
            f"the server does not take {', '.join(refused)}; its own defaults are in force"
        )
    ids = getattr(first.choices[0], "prompt_token_ids", None) or []
    if len(ids) > 1 and ids[0] == ids[1]:
        terms.remarks.append(
            f"the server's prompt begins with the token {ids[0]} twice: a doubled "
            "beginning-of-sequence token?"
        )
    if request.sampling.temperature > 0:
        await _try_seeds(ask, request, terms, _text(first))
    return terms


async def _accepted(ask: Ask, request: Request, terms: Terms) -> Any:
    """The first answer; what the server refuses is left out, and noted."""
    while True:
        try:
            return await ask(terms.arguments(request, max_tokens=PROBE_TOKENS))
        except openai.APIStatusError as error:
            if error.status_code not in (400, 422) or not _leave_out(terms, what(error)):
                raise


def _leave_out(terms: Terms, said: str) -> bool:
    """Drop what a refusal names, or else what servers know least; False where nothing is left."""
    if "max_completion_tokens" in said and terms.length == "max_tokens":
        terms.length = "max_completion_tokens"
        return True
    open_ = [name for name in OPTIONAL if name not in terms.left_out]
    named = [name for name in open_ if re.search(rf"\b{name}\b", said)]
    named = named or [name for name in open_ if name in BEYOND] or [
        name for name in open_ if name == "logprobs"
    ]  # fmt: skip
    terms.left_out += named
    if "seed" in named:
        terms.seed = "refused"
    return bool(named)


async def _try_seeds(ask: Ask, request: Request, terms: Terms, first: str) -> None:
    """Equal seeds must give equal texts, different ones different texts."""
    if terms.seed == "refused":
        terms.remarks.append("the server takes no seed; its rows cannot be made again alike")
        return

    async def text(**changes: Any) -> str:
        return _text(await ask(terms.arguments(request, max_tokens=PROBE_TOKENS, **changes)))

    again = await text()
    if again != first:
        terms.seed = "ignored"
        terms.remarks.append("the server ignores the seed; its rows cannot be made again alike")
        return
    others = [await text(seed=(request.seed + step) % 2**31) for step in (1, 2)]
    if set(others) != {first}:
        terms.seed = "honoured"
        return
    free = [await text(seed=None) for _ in range(2)]
    if set(free) != {first}:
        terms.seed = "fixed"
        terms.remarks.append("the server gives one text for every seed; none is sent")
        return
    terms.seed = "undetermined"
    terms.remarks.append(
        "the server gave one text for three seeds and for none: is it greedy, or does it cache?"
    )


def _text(answer: Any) -> str:
    choice = answer.choices[0]
    return str(choice.message.content if hasattr(choice, "message") else choice.text)
