"""Requests to a server under way, so many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

Unit = TypeVar("Unit")
Made = TypeVar("Made")

FLUSH = 5.0
"""Seconds after which what is finished is handed over, however little."""

AHEAD = 4
"""How many times what is asked for may be finished and not yet collected; then units wait."""


class Flight(Generic[Unit, Made]):
    """Units of work, each a coroutine that gives a list; what is finished is collected.

    Work goes on while what was collected is saved.

    Args:
        make: does one unit.
        units: all of them, in order.
        concurrency: how many at a time.
    """

    def __init__(
        self,
        make: Callable[[Unit], Coroutine[Any, Any, list[Made]]],
        units: Iterable[Unit],
        concurrency: int,
    ) -> None:
        self._make = make
        self._waiting = iter(units)
        self._concurrency = concurrency
        self._workers: list[asyncio.Task[None]] = []
        self._working = 0
        self._ready: list[Made] = []
        self._chunk = 1
        self._error: Exception | None = None

    async def collect(self, chunk: int) -> list[Made]:
        """What is finished next, about `chunk` or what has piled up; nothing when all is done.

        Raises whatever a unit failed with, after what was finished has been collected.
        """
        self._chunk = chunk
        if not self._workers:
            self._start()
        self._tell()
        until = time.monotonic() + FLUSH
        while self._error is None and len(self._ready) < chunk and self._working:
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(until - time.monotonic(), 0.05))
            if self._ready and time.monotonic() > until:
                break
        if self._error is not None and not self._ready:
            await self.cancel()
            raise self._error
        ready, self._ready = self._ready, []
        self._tell()
        return ready

    async def cancel(self) -> None:
        """End what is under way."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _start(self) -> None:
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._working = self._concurrency
        self._workers = [asyncio.ensure_future(self._work()) for _ in range(self._concurrency)]

    async def _work(self) -> None:
        try:
            for unit in self._waiting:
                await self._room.wait()
                if self._error is not None:
                    break
                made = await self._make(unit)
                self._ready += made  # which may be another list than before the unit was made
                self._tell()
        except Exception as error:  # noqa: BLE001 - raised by `collect`
            self._error = self._error or error
        finally:
            self._working -= 1
            self._changed.set()

    def _tell(self) -> None:
        """Whether there is enough to collect, and room for more."""
        if len(self._ready) >= self._chunk:
            self._changed.set()
        if len(self._ready) < AHEAD * self._chunk:
            self._room.set()
        else:
            self._room.clear()
