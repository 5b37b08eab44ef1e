"""SIGTERM, as schedulers send it a while before they kill: the batch in flight is finished first.

A command obeys it (`obeying_sigterm`). Where work comes in batches that are saved one by one, a
block says so (`finishing`), and between two batches it leaves if it was asked to.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

GRACE = 15.0
"""Seconds that a batch may take to its end; schedulers give 30 before they kill."""

_asked = False
_blocks = 0


class Terminated(BaseException):
    """The process was asked to end; like KeyboardInterrupt, no error."""


@contextmanager
def obeying_sigterm() -> Iterator[None]:
    """Within the block SIGTERM raises Terminated: at once, or where `finishing` lets it.

    Only the main thread can obey signals; in another the block changes nothing.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked = False
    before = signal.signal(signal.SIGTERM, _ask)
    try:
        yield
    finally:
        _stop_clock()
        signal.signal(signal.SIGTERM, before)
        _asked = False


@contextmanager
def finishing() -> Iterator[None]:
    """Within the block SIGTERM waits for `leave_if_asked`, but no longer than GRACE seconds."""
    global _blocks
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1
    if not _blocks:
        leave_if_asked()


def is_asked() -> bool:
    """Whether SIGTERM has come."""
    return _asked


def leave_if_asked() -> None:
    """Raise Terminated if SIGTERM has come: all that was in flight is saved."""
    if _asked:
        raise Terminated


def ignore_signals() -> None:
    """In a worker: the process that started it decides what Ctrl-C and SIGTERM mean.

    SIGTERM gets a handler that does nothing: unlike one that is ignored, programs that the worker
    starts do not inherit it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)


def _ask(number: int, frame: Any) -> None:
    global _asked
    if _asked or not _blocks:
        _asked = True
        raise Terminated
    _asked = True
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _lose_patience)
        signal.setitimer(signal.ITIMER_REAL, GRACE)


def _lose_patience(number: int, frame: Any) -> None:
    raise Terminated


def _stop_clock() -> None:
    if hasattr(signal, "SIGALRM"):
        with suppress(OSError):
            signal.setitimer(signal.ITIMER_REAL, 0)
