"""Processes that begin at once, and one whose memory is short."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.blas import load_blas

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


M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h: from so many bytes on, an allocation is a mapping of its own."""


def limited(mib: int, work: Callable[[], Any]) -> Any:
    """What a process returns that may have `mib` MiB more than it begins with."""

    def begin(_: int) -> Any:
        load_blas()
        gc.collect()  # what would be given back later counts for nothing
        # Nor does what the heap holds free: it is given back, and what is large is a mapping.
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        libc.mallopt(M_MMAP_THRESHOLD, 2**16)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20), resource.RLIM_INFINITY))
        return work()

    (answer,) = together(1, begin)
    return answer


@contextmanager
def memory_group(mib: int) -> Iterator[Path]:
    """A group of processes that may have `mib` MiB together; it is joined through its file.

    The kernel kills one of them where it asks for more.
    """
    groups = Path("/sys/fs/cgroup")
    second = (groups / "cgroup.controllers").exists()  # cgroup v2
    folder = (groups if second else groups / "memory") / f"tofu-eval-{os.getpid()}"
    limit = "memory.max" if second else "memory.limit_in_bytes"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(mib << 20))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no group of processes with a limit of memory can be made here: {error}")
    try:
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


needs_limits = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="needs Linux's limits of memory"
)
