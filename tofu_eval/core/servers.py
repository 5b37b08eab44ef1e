"""What concerns any server: its address, and asking it until it answers.

Backoff, rate limits that concern everybody, a deadline; and what is refused from it: a redirect to
another host, an answer that is larger than any answer, its own key in a message.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

import openai

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.escape import printable
from tofu_eval.core.secrets import (
    hide_password,
    read_key,
    strike_keys,
    strike_keys_in,
    strike_secrets,
)

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
LARGEST = 16 * 2**20
"""Bytes of an answer, unpacked; a longer one is refused."""

MOST_WAIT = 3600.0
"""Seconds that a server may ask for; a longer time is not waited for."""

MALFORMED_TRIES = 4
"""How often what is no answer is asked for again."""

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
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigError(
            f"{option} must be like http://127.0.0.1:8000/v1, got '{hide_password(url)}'."
        ) from error
    if "@" in url or parts.query or parts.fragment:
        raise ConfigError(
            f"{option} must not hold a user, a password or a query: the run would keep it. Put "
            "the key into the environment variable OPENAI_API_KEY."
        )
    if parts.scheme not in ("http", "https") or not has_host:
        raise ConfigError(f"{option} must be like http://127.0.0.1:8000/v1, got '{url}'.")
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
        """What the coroutine returns or raises.

        While Python ends, nothing: threads run no more then, and waiting for one would not end.
        """
        if sys.is_finalizing():
            coroutine.close()
            return cast(T, None)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __exit__(self, *_: object) -> None:
        if sys.is_finalizing():
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    """End all other tasks of the loop, those that an interrupt left behind."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


class Malformed(Exception):
    """An answer that is cut, or is no answer."""


class Unacceptable(Exception):
    """An answer that is not taken, however often it comes: too large, or sent on elsewhere."""


class TooLarge(Unacceptable):
    """An answer of more than LARGEST bytes."""


class Refused(Exception):
    """An error that came as the body of an answer that says 200.

    Args:
        status: what the error says that it is, as an HTTP status; 400 where it does not say.
        message: in the server's words.
        code: the server's word for it, if any.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status
        self.code = code


class Unanswered(Exception):
    """One request that failed until its deadline, while the server answered others."""


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
        self._answered = 0.0
        self.retries = 0

    async def ask(self, call: Callable[[], Awaitable[T]], seed: int) -> T:
        """The answer to `call`, repeated while that can help; `seed` spreads the waiting.

        Raises:
            ModelError: the deadline has passed, and the server answers nobody, or says that a
                limit is reached; what it said last.
            Unanswered: the deadline has passed, and the server answers others.
            openai.APIError, Refused, Malformed, Unacceptable: what repeating does not change.
        """
        spread, failed, tries = Random(seed), 0.0, 0  # noqa: S311 - no secret
        while True:
            while (rest := self._pause - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            try:
                answer = await call()
                self._answered = time.monotonic()
                return answer
            except (openai.APIError, Malformed, Refused) as error:
                broken = isinstance(error, Malformed) and tries + 1 >= MALFORMED_TRIES
                if broken or not may_pass(error):
                    raise
                now = time.monotonic()
                failed = failed or now
                asked = _asked_wait(error)
                wait = min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * spread.uniform(0.75, 1.25)
                wait = wait if asked is None else asked
                if now + wait - failed > self._deadline:
                    self._give_up(error, tries + 1, now - failed, asked, failed)
                if asked is not None:
                    self._pause = max(self._pause, now + asked)  # a limit is everybody's
                tries += 1
                self.retries += 1
                await asyncio.sleep(wait)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Wait, before the next request, where the server says that none is left."""
        for kind in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
                wait = _span(headers.get(f"x-ratelimit-reset-{kind}", "")) or 0.0
                self._pause = max(self._pause, time.monotonic() + min(wait, MOST_WAIT))

    def _give_up(
        self, error: Exception, tries: int, seconds: float, asked: float | None, failed: float
    ) -> NoReturn:
        if self._answered > failed and status_of(error) != 429:
            raise Unanswered(f"{what(error)}, {tries} times in {seconds:.0f} s") from error
        raise ModelError(
            f"{self._where} does not answer: {what(error)}. It was asked {tries} times in "
            f"{seconds:.0f} s"
            + (f" and says to wait {asked:.0f} s" if asked is not None else "")
            + ". What is finished is kept; run the same command again, or give it longer: "
            "--engine-arg deadline=SECONDS"
        ) from error


def open_client(url: str, key_variable: str, timeout: float) -> openai.AsyncOpenAI:
    """A client of one server, which repeats nothing by itself (`Patience` does).

    It follows no redirect to another host, and refuses an answer that announces more than LARGEST
    bytes.

    Args:
        url: the server's address.
        key_variable: the environment variable that holds the key, if there is one.
        timeout: seconds for one answer.

    Raises:
        ConfigError: there is a key, and the user did not name that server.
    """
    limits = openai.Timeout(timeout, connect=min(timeout, 10.0))
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=read_key(key_variable, url),
        max_retries=0,
        timeout=limits,
        http_client=openai.DefaultAsyncHttpxClient(
            event_hooks={"response": [_check_response]}, max_redirects=5, timeout=limits
        ),
    )


async def read_body(response: Any) -> bytes:
    """The body of a streamed answer, unpacked.

    Raises:
        TooLarge: it is longer than LARGEST.
        openai.APIConnectionError: it ends before its end.
    """
    body = bytearray()
    try:
        async for piece in response.iter_bytes(2**16):
            body += piece
            if len(body) > LARGEST:
                raise TooLarge(_too_large("more than"))
    except (openai.APIError, TooLarge):
        raise
    except Exception as error:  # the transport's own, which the client no longer wraps here
        if "Timeout" in type(error).__name__:
            raise openai.APITimeoutError(request=response.http_request) from error
        raise openai.APIConnectionError(request=response.http_request) from error
    return bytes(body)


def parse_json(body: bytes) -> Any:
    """The value of a body; keys of ours that it repeats are struck.

    Raises:
        Malformed: it is no JSON.
    """
    text = strike_keys(body.decode("utf-8", "replace"))
    try:
        return strike_keys_in(json.loads(text), text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON, but {printable(text[:60])!r}") from error


async def _check_response(response: Any) -> None:
    location = response.headers.get("location")
    if response.is_redirect and location:
        here, there = response.request.url, response.request.url.join(location)
        upgraded = (here.scheme, there.scheme) == ("http", "https")
        if there.host != here.host or (there.port != here.port and not upgraded):
            raise Unacceptable(
                f"it sends requests on to {there.scheme}://{there.netloc.decode('ascii')}, which "
                "nobody has named"
            )
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > LARGEST:
        raise TooLarge(_too_large(f"{int(length) / 2**20:.0f} MiB, at most"))


def _too_large(much: str) -> str:
    return f"its answer has {much} {LARGEST // 2**20} MiB"


def wait_told(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone: Retry-After in its forms, else the reset times.

    None where it does not say, or says what cannot be.
    """
    if (text := headers.get("retry-after-ms")) and (span := _span(f"{text}ms")) is not None:
        return span
    if text := headers.get("retry-after"):
        if (span := _span(text)) is not None:
            return span
        try:
            until = parsedate_to_datetime(text).timestamp()
            # By the server's own clock, where it tells: ours may be wrong.
            now = headers.get("date")
            since = parsedate_to_datetime(now).timestamp() if now else time.time()
        except (ValueError, TypeError, IndexError, OverflowError, OSError):
            return None
        return max(until - since, 0.0)
    spans = [_span(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in ("requests", "tokens")]
    return max((span for span in spans if span is not None), default=None)


def what(error: Exception) -> str:
    """What a server or the way to it said, in one printable line without a full stop or a key."""
    if isinstance(error, openai.APITimeoutError):
        return "it took longer than the timeout"
    error = cause_of(error)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else None
    text = f"{type(cause).__name__}: {cause}" if cause is not None else _message(error)
    if (status := status_of(error)) is not None:
        text = f"{status} {text}"
    return printable(" ".join(strike_secrets(text).split()))[:300].rstrip(". ")


def status_of(error: Exception) -> int | None:
    """The HTTP status of a refusal; None for what is none."""
    if isinstance(error, openai.APIStatusError | Refused):
        return error.status_code
    return None


def may_pass(error: Exception) -> bool:
    """Whether the same request may be answered the next time."""
    status = status_of(error)
    if status is not None:
        spent = getattr(error, "code", None) == "insufficient_quota"
        return not spent and (status in TEMPORARY or status >= 500)
    looping = type(error.__cause__).__name__ == "TooManyRedirects"
    # Else: no connection, a timeout, half an answer.
    return not looping and not isinstance(cause_of(error), Unacceptable)


def cause_of(error: Exception) -> Exception:
    """What is behind an error of the client's that only says that there was no answer."""
    cause = error.__cause__
    return cause if isinstance(cause, Unacceptable) else error


def _message(error: Exception) -> str:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else body
    said = inner.get("message") if isinstance(inner, dict) else inner
    return str(said or getattr(error, "message", None) or error)


def _asked_wait(error: Exception) -> float | None:
    return wait_told(error.response.headers) if isinstance(error, openai.APIStatusError) else None


def _span(text: str) -> float | None:
    """Seconds of "20", "1.5s", "6m0s", "80ms"; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text):
        return float(text)
    parts = _SPAN.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return None
    return sum(float(n) * _SECONDS[unit] for n, unit in parts)
