"""The openai engine: any OpenAI-compatible server, `vllm serve`, SGLang, llama.cpp or hosted.

One request a sample: a server that ignores `n`, or samples the n alike, can do no harm. What else
a server may ignore or refuse is found out first (`negotiate.py`) and kept in the run.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import openai

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.servers import Loop, Malformed, Patience, checked_url, what
from tofu_eval.core.types import ModelSpec, Request, Response
from tofu_eval.engines.base import scored
from tofu_eval.engines.negotiate import Terms, negotiate

DEFAULTS: Mapping[str, Any] = {
    "concurrency": 32,
    "timeout": 600.0,
    "deadline": 1800.0,
    "api_key_env": "OPENAI_API_KEY",
}
"""Requests in flight; seconds for one answer; seconds of failing before a request is given up."""

FLUSH = 5.0
"""Seconds after which responses are handed over, however few."""


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
        **_: Any,
    ) -> None:
        self._url = checked_url(
            base_url or os.environ.get("OPENAI_BASE_URL"), f"of '{spec.name}'", "--base-url"
        )
        self._options = _options(engine_args or {})
        self._model = _written(spec)
        self._name = spec.name
        self._chunk = batch_size
        self._patience = Patience(f"The server {self._url}", self._options["deadline"])
        self.identity: Mapping[str, Any] = {"kind": "server", "id": self._model}
        self.record: dict[str, Any] = {}

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses as they arrive; see `base.Engine.generate`.

        Raises:
            ModelError: the server cannot be reached, or refuses the model, the key or a
                prompt.
        """
        left = [request for request in requests if request.key not in done]
        if not left:
            return
        _refuse_chat(left)
        cut = 0
        with Loop() as loop:
            client = self._client()
            try:
                terms = loop.run(self._explained(left[0], self._settle(client, left)))
                flight = _Flight(
                    lambda r: self._explained(r, self._respond(client, terms, r)),
                    left,
                    self._options["concurrency"],
                )
                while rows := loop.run(flight.collect(self._chunk)):
                    cut += sum(_is_cut(row, request) for request, row in rows)
                    self.record["retries"] = self._patience.retries
                    if cut:
                        self.record["cut_by_the_server"] = cut
                    yield [row for _, row in rows]
            finally:
                loop.run(client.close())

    def close(self) -> None:
        """Nothing is held between calls."""

    # One server

    def _client(self) -> openai.AsyncOpenAI:
        key = os.environ.get(self._options["api_key_env"]) or "none"
        return openai.AsyncOpenAI(
            base_url=self._url,
            api_key=key,
            max_retries=0,  # `Patience` does that, for all requests together
            timeout=openai.Timeout(self._options["timeout"], connect=10.0),
        )

    async def _settle(
        self, client: openai.AsyncOpenAI, left: Sequence[Request]
    ) -> Mapping[bool, Terms]:
        """What the server takes, for each of the two endpoints that are needed."""
        found: dict[bool, Terms] = {}
        drawn = [request for request in left if request.completion is None]
        for chat in dict.fromkeys(request.messages is not None for request in drawn):
            probe = next(request for request in drawn if (request.messages is not None) == chat)

            async def ask(arguments: Mapping[str, Any], *, probe: Request = probe) -> Any:
                return await self._ask(client, probe, arguments)

            found[chat] = await negotiate(ask, probe)
            endpoint = "chat/completions" if chat else "completions"
            self.record.setdefault("endpoints", {})[endpoint] = found[chat].described()
            for remark in found[chat].remarks:
                self.record.setdefault("remarks", []).append(f"{self._name}: {remark}")
        self.record["base_url"] = self._url
        return found

    async def _ask(
        self, client: openai.AsyncOpenAI, request: Request, arguments: Mapping[str, Any]
    ) -> Any:
        """One answer with exactly one choice."""
        if request.messages is not None:
            turns = [{"role": m.role, "content": m.content} for m in request.messages]
            create: Any = client.chat.completions.with_raw_response.create
            place: dict[str, Any] = {"messages": turns}
        else:
            create = client.completions.with_raw_response.create
            place = {"prompt": request.text or ""}

        async def call() -> Any:
            raw = await create(model=self._model, **place, **arguments)
            self._patience.heed(raw.headers)
            try:
                answer = raw.parse()
                choices = answer.choices
            except (ValueError, AttributeError) as error:
                raise Malformed(f"no JSON of a completion: {raw.text[:100]!r}") from error
            if not choices:
                raise Malformed("a completion without choices")
            return answer

        return await self._patience.ask(call, request.seed)

    async def _respond(
        self, client: openai.AsyncOpenAI, terms: Mapping[bool, Terms], request: Request
    ) -> Response:
        if request.completion is not None:
            return await self._score(client, request)
        answer = await self._ask(
            client, request, terms[request.messages is not None].arguments(request)
        )
        if answer.system_fingerprint:
            seen = self.record.setdefault("system_fingerprints", [])
            if answer.system_fingerprint not in seen:
                seen.append(answer.system_fingerprint)
        choice = answer.choices[0]
        ids = getattr(choice, "token_ids", None)
        if request.messages is not None:
            text, logprobs = choice.message.content, getattr(choice.logprobs, "content", None)
            values = None if logprobs is None else [token.logprob for token in logprobs]
        else:
            text, values = choice.text, getattr(choice.logprobs, "token_logprobs", None)
        whole = values is not None and None not in values
        return Response(
            request.key,
            request.model,
            request.task,
            request.prompt_id,
            request.sample,
            text or "",
            None if ids is None else tuple(ids),
            choice.finish_reason,
            float(sum(values)) if values is not None and whole else None,
            request.seed,
        )

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
        offsets = getattr(choice.logprobs, "text_offset", None) or []
        values = getattr(choice.logprobs, "token_logprobs", None) or []
        # The token that it had to draw begins where the text ends.
        end = len(whole.text or "")
        told = [
            value for start, value in zip(offsets, values, strict=False) if len(text) <= start < end
        ]
        if not (choice.text or "").startswith(whole.text or "") or not told or None in told:
            raise ModelError(
                f"The server {self._url} gives no log-probabilities of a given text (echo with "
                "logprobs), which 'scoring: likelihood' needs. Use --engine transformers or vllm."
            )
        return scored(request, None, float(sum(told)))

    async def _explained(self, request: Request, asking: Coroutine[Any, Any, Any]) -> Any:
        """The answer; a refusal is one line that says what to do."""
        try:
            return await asking
        except openai.APIStatusError as error:
            where = f"prompt '{request.prompt_id}' of task '{request.task}'"
            remedies = {
                401: f"Put the key into the environment variable {self._options['api_key_env']}",
                403: f"Put the key into the environment variable {self._options['api_key_env']}",
                404: f"Is '{self._model}' its name there (curl {self._url}/models), and does the "
                "address end in /v1",
            }
            remedy = remedies.get(error.status_code, "Change the prompt or the settings")
            raise ModelError(
                f"The server {self._url} refuses {where}: {what(error)}. {remedy}; what is "
                "finished is kept."
            ) from error


def _refuse_chat(requests: Sequence[Request]) -> None:
    for request in requests:
        if request.completion is not None and request.messages is not None:
            raise ModelError(
                f"The choices of task '{request.task}' cannot be scored by a server in the format "
                "chat, whose template only the server knows. Use --format base or --format sft."
            )


class _Flight:
    """Requests under way, so many at a time; finished ones are collected in lists."""

    def __init__(
        self,
        make: Callable[[Request], Coroutine[Any, Any, Response]],
        requests: Sequence[Request],
        concurrency: int,
    ) -> None:
        self._make = make
        self._waiting = iter(requests)
        self._concurrency = concurrency
        self._flying: dict[asyncio.Task[Response], Request] = {}
        self._error: BaseException | None = None

    async def collect(self, chunk: int) -> list[tuple[Request, Response]]:
        """The next finished ones, at most about `chunk`; none when all are done.

        Raises whatever a request failed with, after those that were finished were collected.
        """
        ready: list[tuple[Request, Response]] = []
        until = time.monotonic() + FLUSH
        while self._error is None and len(ready) < chunk and self._fill():
            wait = max(until - time.monotonic(), 0.05)
            done, _ = await asyncio.wait(
                self._flying, timeout=wait, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                request = self._flying.pop(task)
                if (error := task.exception()) is not None:
                    self._error = error
                else:
                    ready.append((request, task.result()))
            if ready and time.monotonic() > until:
                break
        if self._error is not None and not ready:
            for task in self._flying:
                task.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)
            raise self._error
        return ready

    def _fill(self) -> bool:
        while len(self._flying) < self._concurrency:
            request = next(self._waiting, None)
            if request is None:
                break
            self._flying[asyncio.ensure_future(self._make(request))] = request
        return bool(self._flying)


def _is_cut(row: Response, request: Request) -> bool:
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
