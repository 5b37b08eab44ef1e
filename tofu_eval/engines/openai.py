"""The openai engine: any OpenAI-compatible server, `vllm serve`, SGLang, llama.cpp or hosted.

One request a sample, with a seed of its own; where a server makes nothing of seeds, one request for
all samples of a prompt, if it can. What else a server may ignore or refuse is found out first
(`negotiate.py`) and kept in the run; what it sends is checked as it comes (`server_answer.py`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any, TypeVar

import openai

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.servers import (
    Loop,
    Malformed,
    Patience,
    Refused,
    TooLarge,
    Unacceptable,
    Unanswered,
    cause_of,
    checked_url,
    open_client,
    read_body,
    status_of,
    what,
)
from tofu_eval.core.types import ModelSpec, Request, Response
from tofu_eval.engines.base import fail, score_response, truncate_at_stop
from tofu_eval.engines.flight import Flight
from tofu_eval.engines.negotiate import NotTaken, Terms, kind_of_refusal, negotiate
from tofu_eval.engines.server_answer import Answer, Choice, read_answer

T = TypeVar("T")

DEFAULTS: Mapping[str, Any] = {
    "concurrency": 32,
    "timeout": 600.0,
    "deadline": 1800.0,
    "api_key_env": "OPENAI_API_KEY",
}
"""Requests in flight; seconds for one answer; seconds of failing before a request is given up."""

MOST_AT_ONCE = 16
"""Samples that one request asks for, where a server gives several."""

OF_ONE_CLIENT = 32
"""Requests in flight of one client: with each, it looks through all connections that it has."""

OF_ONE_PROMPT = (400, 413, 422)
"""Refusals that may concern a prompt and not all of them."""


class OpenAIEngine:
    """A model behind an OpenAI-compatible server; see `base.Engine`.

    Prompts of the formats base and sft go to /completions as they are, those of the format chat to
    /chat/completions, where the server's template is used. `identity` is the name that the server
    knows the model by: which weights that is, the server alone knows.

    Args:
        spec: its text is the model's name on the server.
        base_url: such as http://127.0.0.1:8000/v1; without one, OPENAI_BASE_URL.
        batch_size: responses saved together.
        engine_args: any of DEFAULTS. The key is read from the environment variable that
            `api_key_env` names, and is never written anywhere.
        chat_template_kwargs: what the server's chat template is given (vLLM, SGLang, llama.cpp).
        reasoning_effort: how long a model thinks, in the server's words; of chats only.
        extra_body: what else stands in every request's body.
        seeds: "row" sends each row's seed, "run" none.

    Raises:
        ConfigError: no address, one with a password in it, or an unknown argument.
    """

    family = "openai"
    scores = True

    def __init__(
        self,
        spec: ModelSpec,
        *,
        base_url: str | None = None,
        batch_size: int = 128,
        engine_args: Mapping[str, Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        reasoning_effort: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        seeds: str = "row",
        **_: Any,
    ) -> None:
        self._url = checked_url(
            base_url or os.environ.get("OPENAI_BASE_URL"), f"of '{spec.name}'", "--base-url"
        )
        self._options = _options(engine_args or {})
        self._model = _written(spec)
        self._name = spec.name
        self._chunk = batch_size
        self._seeded = seeds == "row"
        self._patience = Patience(f"The server {self._url}", self._options["deadline"])
        self._chat_body = {
            **(
                {"chat_template_kwargs": dict(chat_template_kwargs)} if chat_template_kwargs else {}
            ),
            **({"reasoning_effort": reasoning_effort} if reasoning_effort else {}),
        }
        self._extra_body = dict(extra_body or {})
        self.identity: Mapping[str, Any] = {
            "kind": "server", "id": self._model, **self._chat_body,
            **({"extra_body": self._extra_body} if self._extra_body else {}),
        }  # fmt: skip
        self.record: dict[str, Any] = {}

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses as they arrive; see `base.Engine.generate`.

        A prompt that is refused for what it says or for its length is a response of the state
        filtered or failed; so is one that the server does not answer while it answers others.

        Raises:
            ModelError: the server cannot be reached, or refuses the model, the key or the
                settings.
        """
        left = [request for request in requests if request.key not in done]
        if not left:
            return
        _refuse_chat(left)
        short = 0
        with Loop() as loop:
            clients = self._open_clients()
            turns = cycle(clients)
            flight: Flight[list[Request], tuple[Request, Response]] | None = None
            try:
                terms = loop.run(self._explain_refusal(left[0], self._settle(clients[0], left)))
                flight = Flight(
                    lambda unit: self._explain_refusal(
                        unit[0], self._respond(next(turns), terms, unit)
                    ),
                    _units(left, terms),
                    self._options["concurrency"],
                )
                while rows := loop.run(flight.collect(self._chunk)):
                    short += sum(_is_short(row, request) for request, row in rows)
                    self.record["retries"] = self._patience.retries
                    if short:
                        self.record["cut_by_the_server"] = short
                    yield [row for _, row in rows]
            finally:
                if flight is not None:
                    loop.run(flight.cancel())
                for client in clients:
                    loop.run(client.close())

    def close(self) -> None:
        """Nothing is held between calls."""

    # One server

    def _open_clients(self) -> list[openai.AsyncOpenAI]:
        """As many clients as the requests in flight need."""
        count = -(-self._options["concurrency"] // OF_ONE_CLIENT)
        told = (self._options["api_key_env"], self._options["timeout"])
        return [open_client(self._url, *told) for _ in range(count)]

    async def _settle(
        self, client: openai.AsyncOpenAI, left: Sequence[Request]
    ) -> Mapping[bool, Terms]:
        """What the server takes, for each of the two endpoints that are needed."""
        terms: dict[bool, Terms] = {}
        drawn = [request for request in left if request.completion is None]

        async def ask(request: Request, arguments: Mapping[str, Any]) -> Answer:
            return await self._ask(client, request, arguments)

        for chat in dict.fromkeys(request.messages is not None for request in drawn):
            mine = [request for request in drawn if (request.messages is not None) == chat]
            body = {**(self._chat_body if chat else {}), **self._extra_body}
            try:
                terms[chat] = await negotiate(ask, mine, body=body, seeds=self._seeded)
            except NotTaken as error:
                raise ModelError(f"The server {self._url} {error}.") from error
            endpoint = "chat/completions" if chat else "completions"
            self.record.setdefault("endpoints", {})[endpoint] = terms[chat].describe()
            for remark in terms[chat].remarks:
                self._remark(remark)
        self.record["base_url"] = self._url
        return terms

    async def _ask(
        self, client: openai.AsyncOpenAI, request: Request, arguments: Mapping[str, Any]
    ) -> Answer:
        """One answer, with one choice or more."""
        chat = request.messages is not None
        if request.messages is not None:
            turns = [{"role": m.role, "content": m.content} for m in request.messages]
            create: Any = client.chat.completions.with_streaming_response.create
            asked: dict[str, Any] = {"messages": turns}
            needed: dict[str, Any] = {"messages": []}
        else:
            create = client.completions.with_streaming_response.create
            asked = {"prompt": request.text or ""}
            needed = {"prompt": ""}
        # All of it as the body that it becomes: what is named, the client holds against its types,
        # and that takes it long.
        named = {name: value for name, value in arguments.items() if name != "extra_body"}
        sent = {**asked, **named, **arguments.get("extra_body", {})}

        async def call() -> Answer:
            async with create(model=self._model, **needed, extra_body=sent) as response:
                self._patience.heed(response.headers)
                body = await read_body(response)
            return read_answer(body, chat=chat)

        answer = await self._patience.ask(call, request.seed)
        for remark in answer.remarks:
            self._remark(remark)
        prints = self.record.setdefault("system_fingerprints", []) if answer.fingerprint else []
        if answer.fingerprint and answer.fingerprint not in prints and len(prints) < 20:
            prints.append(answer.fingerprint)
        return answer

    async def _respond(
        self, client: openai.AsyncOpenAI, terms: Mapping[bool, Terms], unit: list[Request]
    ) -> list[tuple[Request, Response]]:
        """The responses to the samples of one prompt, as many requests as it takes."""
        if unit[0].completion is not None:
            return [(request, await self._score(client, request)) for request in unit]
        answered: list[tuple[Request, Response]] = []
        while left := unit[len(answered) :]:
            answered += await self._answers(client, terms[left[0].messages is not None], left)
        return answered

    async def _answers(
        self, client: openai.AsyncOpenAI, terms: Terms, left: list[Request]
    ) -> list[tuple[Request, Response]]:
        """At least one more response: as many as the server gives, one that was refused, …"""
        first = left[0]
        several = {"n": len(left)} if len(left) > 1 else {}
        try:
            answer = await self._ask(client, first, terms.arguments(first, **several))
        except (openai.APIError, Refused, Malformed, Unacceptable, Unanswered) as error:
            if several and status_of(error) in OF_ONE_PROMPT:
                return await self._answers(client, terms, [first])
            return [(first, self._failure(first, error))]
        if len(answer.choices) > max(len(left), 1):
            self._remark(
                f"the server gave {len(answer.choices)} choices where {len(left)} were asked for; "
                "the others are not used"
            )
        pairs = zip(left, answer.choices, strict=False)
        return [(request, self._response(request, choice, terms)) for request, choice in pairs]

    def _failure(self, request: Request, error: Exception) -> Response:
        """The response to a request that was not answered; what concerns all is raised."""
        cause = cause_of(error)
        if isinstance(cause, Unanswered | Malformed):
            return fail(request, what(cause), passing=True)
        if isinstance(cause, TooLarge):
            return fail(request, what(cause))
        if status_of(cause) in OF_ONE_PROMPT:
            return fail(request, what(cause), filtered=kind_of_refusal(cause) == "filtered")
        raise error

    def _response(self, request: Request, choice: Choice, terms: Terms) -> Response:
        text = choice.text or ""
        if terms.echoes:
            text = text.removeprefix(request.text or "")
        text, stopped = truncate_at_stop(text, request.sampling.stop)
        return Response(
            request.key, request.model, request.task, request.prompt_id, request.sample, text,
            choice.token_ids,
            "stop" if stopped else choice.finish_reason,
            choice.logprob,
            request.seed if terms.seed != "not sent" else None,
            reasoning=choice.reasoning,
            token_logprobs=_each(choice) if request.token_logprobs else None,
        )  # fmt: skip

    async def _score(self, client: openai.AsyncOpenAI, request: Request) -> Response:
        """The log-probability of a completion, from a server that echoes the prompt.

        Raises:
            ModelError: it does not echo, or gives no log-probabilities with it.
        """
        text = request.text or ""
        joint = "" if not text or text[-1].isspace() else " "
        whole = replace(request, text=f"{text}{joint}{request.completion}")
        arguments = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        choice = (await self._ask(client, whole, arguments)).choices[0]
        # The token that it had to draw begins where the text ends.
        end = len(whole.text or "")
        places = zip(choice.text_offset, choice.token_logprobs, strict=False)
        values = [value for start, value in places if len(text) <= start < end]
        if not (choice.text or "").startswith(whole.text or "") or not values or None in values:
            raise ModelError(
                f"The server {self._url} gives no log-probabilities of a given text (echo with "
                "logprobs), which 'scoring: likelihood' needs. Use --engine transformers or vllm."
            )
        return score_response(
            request, None, float(sum(value for value in values if value is not None))
        )

    def _remark(self, remark: str) -> None:
        remarks = self.record.setdefault("remarks", [])
        if (text := f"{self._name}: {remark}") not in remarks:
            remarks.append(text)

    async def _explain_refusal(self, request: Request, asking: Coroutine[Any, Any, T]) -> T:
        """The answer; a refusal is one line that says what to do."""
        try:
            return await asking
        except (openai.APIError, Refused, Malformed, Unacceptable, Unanswered) as error:
            where = f"prompt '{request.prompt_id}' of task '{request.task}'"
            key = f"Put the key into the environment variable {self._options['api_key_env']}"
            remedies = {
                401: key,
                403: key,
                404: f"Is '{self._model}' its name there (curl {self._url}/models), and does the "
                "address end in /v1",
            }
            status = status_of(error)
            remedy = remedies.get(status or 0, "Change the prompt or the settings")
            if isinstance(cause_of(error), Unacceptable):
                remedy = "Name the server that answers itself: --base-url"
            if isinstance(cause_of(error), Malformed | TooLarge):
                remedy = f"Is it OpenAI-compatible (curl {self._url}/models)"
            refuses = "refuses" if status is not None else "gives no answer to"
            raise ModelError(
                f"The server {self._url} {refuses} {where}: {what(error)}. {remedy}; what is "
                "finished is kept."
            ) from error


def _units(left: Sequence[Request], terms: Mapping[bool, Terms]) -> Iterator[list[Request]]:
    """What one request asks for: a row, or the samples of a prompt where the server gives several.

    The samples of a prompt follow each other, so that a server's prefix cache serves them.
    """
    prompts: dict[object, list[Request]] = {}
    for request in left:
        asked = (request.text, request.messages, request.sampling, request.completion)
        prompts.setdefault(asked, []).append(request)
    for rows in prompts.values():
        endpoint = terms.get(rows[0].messages is not None)
        size = MOST_AT_ONCE if endpoint is not None and endpoint.several else 1
        yield from (rows[i : i + size] for i in range(0, len(rows), size))


def _refuse_chat(requests: Sequence[Request]) -> None:
    for request in requests:
        if request.completion is not None and request.messages is not None:
            raise ModelError(
                f"The choices of task '{request.task}' cannot be scored by a server in the format "
                "chat, whose template only the server knows. Use --format base or --format sft."
            )


def _is_short(row: Response, request: Request) -> bool:
    """Whether a response ended for length before the length that was asked for."""
    short = row.token_ids is not None and len(row.token_ids) < request.sampling.max_tokens
    return short and row.finish_reason == "length"


def _written(spec: ModelSpec) -> str:
    """A model's reference as the user wrote it: a server's names may hold '@' and '+'."""
    text = spec.model if spec.revision is None else f"{spec.model}@{spec.revision}"
    if spec.adapter is not None:
        text += f"+{spec.adapter}"
        text += "" if spec.adapter_revision is None else f"@{spec.adapter_revision}"
    return text


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in DEFAULTS:
            secret = " A key comes from the environment only." if "key" in name else ""
            raise ConfigError(
                f"The openai engine has no argument '{name}'. Known: {', '.join(DEFAULTS)}.{secret}"
            )
        kind = str if name == "api_key_env" else (int if name == "concurrency" else (int, float))
        bad = isinstance(value, bool) or not isinstance(value, kind)
        if bad or (name != "api_key_env" and value <= 0):
            raise ConfigError(f"The engine argument '{name}' cannot be {value!r}.")
    return {**DEFAULTS, **given}


def _each(choice: Choice) -> tuple[float, ...] | None:
    """The log-probabilities of a choice's tokens; None where one is unknown."""
    values = tuple(value for value in choice.token_logprobs if value is not None)
    return values if values and len(values) == len(choice.token_logprobs) else None
