"""What concerns any server: its address, and asking it until it answers.

Backoff, rate limits that concern everybody, a deadline.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from tofu_eval.core.errors import ConfigError, ModelError

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
TEMPORARY = frozenset({408, 409, 425, 429})
"""HTTP answers, beside 5xx, that may be different the next time."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def checked_url(url: str | None, whose: str, option: str) -> str:
    """An address without a slash at its end.

    Args:
        url: what the user gave, if anything.
        whose: whose server it is, "of 'base'".
        option: the flag that names it.

    Raises:
        ConfigError: none is given, or it is no address, or it holds a password.
    """
    if not url:
        raise ConfigError(
            f"The openai engine does not know the server {whose}. Name it: "
            f"{option} http://127.0.0.1:8000/v1"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{option} is no address: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{option} must be like http://127.0.0.1:8000/v1, got '{url}'.")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"{option} must not hold a user, a password or a query: the run would keep it. Put "
            "the key into the environment variable OPENAI_API_KEY."
        )
    return url.rstrip("/")


class Loop:
    """An event loop in a thread of its own; as a context manager.

    So that servers can also be asked where a loop is running already, as in a notebook.
    """

    def __enter__(self) -> Loop:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __exit__(self, *_: object) -> None:
        self.run(_cancelled())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancelled() -> None:
    """End all other tasks of the loop, those that an interrupt left behind."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


class Malformed(Exception):
    """An answer that is cut, or is no answer."""


class Patience:
    """What the requests to one server share: how long to go on, and until when all must wait.

    Args:
        where: what messages call the server.
        deadline: seconds after the first failure of a request at which it is given up.
    """

    def __init__(self, where: str, deadline: float) -> None:
        self._where = where
        self._deadline = deadline
        self._pause = 0.0
        self.retries = 0

    async def ask(self, call: Callable[[], Awaitable[T]], seed: int) -> T:
        """The answer to `call`, repeated while that can help; `seed` spreads the waiting.

        Raises:
            ModelError: the deadline has passed; what the server said last.
            openai.APIStatusError: an answer that repeating does not change.
        """
        spread, failed, tries = Random(seed), 0.0, 0  # noqa: S311 - no secret
        while True:
            while (rest := self._pause - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            try:
                return await call()
            except (openai.APIError, Malformed) as error:
                if not _may_pass(error):
                    raise
                now = time.monotonic()
                failed = failed or now
                told = _told(error)
                wait = min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * spread.uniform(0.75, 1.25)
                wait = wait if told is None else told
                if now + wait - failed > self._deadline:
                    raise ModelError(
                        f"{self._where} does not answer: {what(error)}. It was asked "
                        f"{tries + 1} times in {now - failed:.0f} s"
                        + (f" and says to wait {told:.0f} s" if told is not None else "")
                        + ". What is finished is kept; run the same command again, or give it "
                        "longer: --engine-arg deadline=SECONDS"
                    ) from error
                if told is not None:
                    self._pause = max(self._pause, now + told)  # a limit is everybody's
                tries += 1
                self.retries += 1
                await asyncio.sleep(wait)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Wait, before the next request, where the server says that none is left."""
        for kind in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
                wait = _span(headers.get(f"x-ratelimit-reset-{kind}", ""))
                self._pause = max(self._pause, time.monotonic() + (wait or 0.0))


def wait_told(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone: Retry-After in its forms, else the reset times.

    None where it does not say.
    """
    if (text := headers.get("retry-after-ms")) and (span := _span(f"{text}ms")) is not None:
        return span
    if text := headers.get("retry-after"):
        if (span := _span(text)) is not None:
            return span
        try:
            return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
        except ValueError:
            return None
    spans = [_span(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in ("requests", "tokens")]
    return max((span for span in spans if span is not None), default=None)


def what(error: Exception) -> str:
    """What a server or the way to it said, in one line without a full stop."""
    if isinstance(error, openai.APITimeoutError):
        return "it took longer than the timeout"
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else None
    text = f"{type(cause).__name__}: {cause}" if cause is not None else _message(error)
    if isinstance(error, openai.APIStatusError):
        text = f"{error.status_code} {text}"
    return " ".join(text.split())[:300].rstrip(". ")


def _message(error: Exception) -> str:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else body
    said = inner.get("message") if isinstance(inner, dict) else inner
    return str(said or getattr(error, "message", None) or error)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, openai.APIStatusError):
        spent = getattr(error, "code", None) == "insufficient_quota"
        return not spent and (error.status_code in TEMPORARY or error.status_code >= 500)
    return True  # no connection, a timeout, half an answer


def _told(error: Exception) -> float | None:
    return wait_told(error.response.headers) if isinstance(error, openai.APIStatusError) else None


def _span(text: str) -> float | None:
    """Seconds of "20", "1.5s", "6m0s", "80ms"; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _SPAN.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return None
    return sum(float(n) * _SECONDS[unit] for n, unit in parts)
