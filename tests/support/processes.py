"""Processes that begin at once, and one whose memory is short."""

from __future__ import annotations

import resource
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

FORKS = get_context("fork")


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `count` processes return that begin at once."""
    gate = FORKS.Barrier(count)

    def begin(number: int, pipe: Any) -> None:
        gate.wait(timeout=60)
        try:
            pipe.send(work(number))
        except BaseException as error:  # noqa: BLE001 - told to the test
            pipe.send(error)

    begun = []
    for number in range(count):
        ours, theirs = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=begin, args=(number, theirs))
        process.start()
        theirs.close()  # so that one which dies is no one to wait for
        begun.append((process, ours))
    said = [pipe.recv() for _, pipe in begun]
    for process, _ in begun:
        process.join(60)
        assert process.exitcode == 0
    return said


def limited(mib: int, work: Callable[[], Any]) -> Any:
    """What a process returns that may have `mib` MiB more than it begins with."""

    def begin(_: int) -> Any:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20), resource.RLIM_INFINITY))
        return work()

    (answer,) = together(1, begin)
    return answer


needs_limits = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="needs Linux's limits of memory"
)
