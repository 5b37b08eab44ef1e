"""A line every half a minute from whatever takes long, so that a log shows that it is alive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import click

from tofu_eval.core.escape import printable

EVERY = 30.0
"""Seconds between two lines of progress."""

Words = Callable[[float], str | None]
"""What is said after so many seconds; None for nothing."""

_KEY = "tofu_eval.heartbeat"


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that torch's launcher or another starts."""
    return os.environ.get("RANK", "0") == "0"


class Heartbeat:
    """Says on stderr what a command is doing, every EVERY seconds, until it ends.

    A thread of its own says it: what takes long need not call anything meanwhile.
    """

    def __init__(self, words: Words) -> None:
        self._words = [words]
        self._ended = Event()
        self._start = time.monotonic()
        self._thread = Thread(target=self._beat, name="tofu-eval-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say nothing more."""
        self._ended.set()
        self._thread.join()

    @contextmanager
    def saying(self, words: Words) -> Iterator[None]:
        """Say something else meanwhile."""
        self._words.append(words)
        try:
            yield
        finally:
            self._words.remove(words)

    def _beat(self) -> None:
        while not self._ended.wait(EVERY):
            text = self._words[-1](time.monotonic() - self._start)
            if text is not None and is_first_process():
                click.echo(printable(text), err=True)


@contextmanager
def heartbeat_of(command: str) -> Iterator[Heartbeat]:
    """The heartbeat of a command, which `saying` finds while the command runs."""

    def words(seconds: float) -> str:
        return f"{command}: {in_words(seconds)} so far"

    with Heartbeat(words) as beat:
        context = click.get_current_context(silent=True)
        if context is not None:
            context.meta[_KEY] = beat
        yield beat


@contextmanager
def saying(words: Words) -> Iterator[None]:
    """Let the heartbeat of the command that runs say this; one of its own where none does."""
    context = click.get_current_context(silent=True)
    beat = context.meta.get(_KEY) if context is not None else None
    if beat is not None:
        with beat.saying(words):
            yield
        return
    with Heartbeat(words):
        yield


def in_words(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
