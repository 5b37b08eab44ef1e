"""Embeddings and rewards from a server: OpenAI's /embeddings, vLLM's /pooling."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.servers import (
    Loop,
    Malformed,
    Patience,
    Unacceptable,
    Unanswered,
    checked_url,
    open_client,
    parse_json,
    read_body,
    status_of,
    what,
)
from tofu_eval.core.types import Prompt, digest

CONCURRENCY = 16
BATCH = 32
"""Texts of one request for embeddings."""

TIMEOUT, DEADLINE = 600.0, 1800.0
"""Seconds for one answer; seconds of failing before a request is given up."""

KEY = "OPENAI_API_KEY"

STREAMED: Any = {"headers": {"X-Stainless-Raw-Response": "stream"}}
"""Asks the client for the answer unread, of which no more than is allowed is read."""


class Server:
    """A server that answers JSON with JSON, asked for several things at once.

    Args:
        url: its address, such as http://127.0.0.1:8000/v1.
        model: the model's name there.
        option: the flag that names the address.
        deadline: seconds after which a request that fails is given up.

    Raises:
        ConfigError: no address, or one with a password in it.
        MissingDependencyError: the package openai is not installed.
    """

    def __init__(
        self, url: str | None, model: str, option: str, *, deadline: float = DEADLINE
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingDependencyError.of("A server of features", "openai", "openai")
        self.url = checked_url(url, f"of '{model}'", option)
        self.model = model
        self._deadline = deadline

    def post(
        self, url: str, bodies: Sequence[Mapping[str, Any]], *, field: str = "data"
    ) -> list[list[Any]]:
        """A field of the answer to each body: the "data", one row an input.

        Raises:
            ModelError: the server cannot be reached, refuses, or answers with something else.
        """
        with Loop() as loop:
            return loop.run(self._all(url, bodies, field))

    async def _all(
        self, url: str, bodies: Sequence[Mapping[str, Any]], field: str
    ) -> list[list[Any]]:
        import openai

        patience = Patience(f"The server {self.url}", self._deadline)
        gate = asyncio.Semaphore(CONCURRENCY)
        async with open_client(self.url, KEY, TIMEOUT) as client:

            async def one(number: int, body: Mapping[str, Any]) -> list[Any]:
                async def call() -> list[Any]:
                    answer: Any = await client.post(
                        url, body={"model": self.model, **body}, cast_to=object, options=STREAMED
                    )
                    try:
                        return _rows_in(parse_json(await read_body(answer)), field)
                    finally:
                        await answer.close()

                async with gate:
                    return await patience.ask(call, number)

            try:
                return await asyncio.gather(*(one(i, body) for i, body in enumerate(bodies)))
            except (openai.APIError, Malformed, Unacceptable, Unanswered) as error:
                refuses = "refuses" if status_of(error) is not None else "gives no answer to"
                raise ModelError(
                    f"The server {self.url} {refuses} '{self.model}' on {url}: {what(error)}. "
                    f"Look what it serves: curl {self.url}/models (a key is read from {KEY})"
                ) from error


def _rows_in(answer: object, field: str) -> list[Any]:
    rows = answer.get(field) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise Malformed(f"no JSON with {field}: {str(answer)[:100]!r}")
    return rows


class ServedEmbedder:
    """The feature "embedding" from `/embeddings`: one unit vector a text, float32.

    Any OpenAI-compatible server. Texts go as they are: one that is longer than the model reads is
    the server's to refuse (vLLM) or to cut (others), which nothing here can tell, so that
    `truncated` stays 0. Which weights it holds, the server alone knows.

    Args:
        model: its name on the server.
        url: the server's address.
        deadline: seconds after which a request that fails is given up.
    """

    name: str = "embedding"

    def __init__(self, model: str, url: str | None, *, deadline: float = DEADLINE) -> None:
        self._server = Server(url, model, "--embedding-base-url", deadline=deadline)
        self.identity: Mapping[str, Any] = {"kind": "server", "id": model}
        self.signature = f"{model}@server"
        self.truncated = 0

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text alone."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Unit vectors of the texts, (len(pairs), d); each distinct text is asked for once.

        Raises:
            ModelError: the server fails, or its vectors are not numbers of one length.
        """
        texts = list(dict.fromkeys(text for _, text in pairs))
        bodies = [
            # Servers refuse an empty text; a space is the nearest to it.
            {"input": [text or " " for text in texts[i : i + BATCH]], "encoding_format": "float"}
            for i in range(0, len(texts), BATCH)
        ]
        answers: list[Any] = []
        for body, rows in zip(bodies, self._server.post("/embeddings", bodies), strict=True):
            _check_count(self._server, rows, len(body["input"]))
            answers += [row.get("embedding") for row in _in_order(self._server, rows)]
        vectors = _numbers(self._server, answers)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ModelError(
                f"'{self._server.model}' at {self._server.url} gave a vector without a direction: "
                "all zeros, or too long. Is it a model of embeddings?"
            )
        row = {text: i for i, text in enumerate(texts)}
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit[[row[text] for _, text in pairs]]

    def close(self) -> None:
        """Nothing is held between calls."""


class ServedRewardModel:
    """The feature "reward" from vLLM's `/pooling`: the raw logit, float32; higher is better.

    The server's chat template puts prompt and response together. A server that does not know
    `use_activation` would squeeze every reward into (0, 1): the first pair is asked for both ways,
    and equal answers are refused.

    Args:
        model: its name on the server.
        url: the server's address, such as http://127.0.0.1:8000/v1.
        deadline: seconds after which a request that fails is given up.
    """

    name: str = "reward"

    def __init__(self, model: str, url: str | None, *, deadline: float = DEADLINE) -> None:
        self._server = Server(url, model, "--reward-base-url", deadline=deadline)
        self.identity: Mapping[str, Any] = {"kind": "server", "id": model, "input": "chat"}
        self.signature = f"{model}@server"
        self.truncated = 0
        self._proven = False

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt's messages and the text."""
        return digest([[[m.role, m.content] for m in prompt.messages], text])

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Raw logits, (len(pairs), 1); each distinct pair is asked for once.

        Raises:
            ModelError: the server fails, or squeezes its rewards.
        """
        keys = [self.key(*pair) for pair in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        if distinct and not self._proven:
            self._prove(next(iter(distinct.values())))
        scores = dict(zip(distinct, self._rewards(list(distinct.values())), strict=True))
        return np.array([[scores[key]] for key in keys], dtype=np.float32).reshape(-1, 1)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _prove(self, pair: tuple[Prompt, str]) -> None:
        (raw,), (squeezed,) = (self._rewards([pair], activation=on) for on in (False, True))
        if raw == squeezed:
            raise ModelError(
                f"The server {self._server.url} gives {raw:g} with and without an activation: are "
                "these raw rewards? Serve the model with vLLM (vllm serve … --runner pooling), or "
                "use --reward-engine transformers"
            )
        self._proven = True

    def _rewards(
        self, pairs: Sequence[tuple[Prompt, str]], *, activation: bool = False
    ) -> list[float]:
        bodies = [
            {
                "task": "classify",
                "messages": [
                    *({"role": m.role, "content": m.content} for m in prompt.messages),
                    {"role": "assistant", "content": text},
                ],
                "add_generation_prompt": False,
                "use_activation": activation,
                "encoding_format": "float",
            }
            for prompt, text in pairs
        ]
        # vLLM has it beside /v1, not below.
        url = f"{self._server.url.removesuffix('/v1')}/pooling"
        rewards = []
        for rows in self._server.post(url, bodies):
            _check_count(self._server, rows, 1)
            rewards.append(rows[0].get("data"))
        values = _numbers(self._server, rewards)
        if values.shape[1:] != (1,):
            raise ModelError(
                f"'{self._server.model}' at {self._server.url} is not a reward model: it has "
                f"{values.shape[1]} outputs, expected 1. Give another: --reward-model NAME"
            )
        return [float(value) for value in values[:, 0]]


def _in_order(server: Server, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The rows in the order of what they answer."""
    places = [row.get("index", place) for place, row in enumerate(rows)]
    if {repr(place) for place in places} != {repr(place) for place in range(len(rows))}:
        raise ModelError(
            f"The server {server.url} answered with rows that it numbers {str(places)[:60]}. "
            "Is it OpenAI-compatible?"
        )
    return [rows[places.index(place)] for place in range(len(rows))]


def _check_count(server: Server, rows: Sequence[Any], count: int) -> None:
    if len(rows) != count or not all(isinstance(row, dict) for row in rows):
        raise ModelError(
            f"The server {server.url} answered with {len(rows)} rows for {count} texts. "
            "Is it OpenAI-compatible?"
        )


def _numbers(server: Server, rows: Sequence[Any]) -> NDArray[np.float64]:
    """The rows as a matrix; ModelError for rows of several lengths, or what is no finite number."""
    try:
        values = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    except (TypeError, ValueError, OverflowError):
        values = np.full((len(rows), 1), np.nan)
    if not (np.abs(values) <= np.finfo(np.float32).max).all():  # NaN is not
        raise ModelError(
            f"'{server.model}' at {server.url} gave rows that are not finite numbers of one "
            f"length, such as {str(rows[0])[:60]}."
        )
    return values
