"""Requests to a server under way, so many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

Unit = TypeVar("Unit")
Made = TypeVar("Made")

FLUSH = 5.0
"""Seconds after which what is finished is handed over, however little."""


class Flight(Generic[Unit, Made]):
    """Units of work, each a coroutine that gives a list; what is finished is collected.

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
        self._flying: set[asyncio.Task[list[Made]]] = set()
        self._error: BaseException | None = None

    async def collect(self, chunk: int) -> list[Made]:
        """What is finished next, at most about `chunk`; nothing when all is done.

        Raises whatever a unit failed with, after what was finished has been collected.
        """
        ready: list[Made] = []
        until = time.monotonic() + FLUSH
        while self._error is None and len(ready) < chunk and self._fill():
            wait = max(until - time.monotonic(), 0.05)
            done, self._flying = await asyncio.wait(
                self._flying, timeout=wait, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is not None:
                    self._error = self._error or error
                else:
                    ready += task.result()
            if ready and time.monotonic() > until:
                break
        if self._error is not None and not ready:
            await self.cancel()
            raise self._error
        return ready

    async def cancel(self) -> None:
        """End what is under way."""
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)

    def _fill(self) -> bool:
        while len(self._flying) < self._concurrency:
            try:
                unit = next(self._waiting)
            except StopIteration:
                break
            self._flying.add(asyncio.ensure_future(self._make(unit)))
        return bool(self._flying)
