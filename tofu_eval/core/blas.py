"""Libraries under a limit of address space that do not fail as they should.

OpenBLAS tries for ever. It takes its buffers when it is loaded and when a matrix product first
needs them. What it has it keeps, so it is made to take them while there is room. Arrow ends the
process where a thread or an allocator of its own finds no room: it gets one thread, and malloc,
where little is left.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress
from functools import cache

from tofu_eval.core.memory import is_limited

ROOM = 480 * 2**20
"""Bytes of addresses for Arrow, NumPy, SciPy and the buffers of the OpenBLAS that each brings."""

ROOM_PER_THREAD = 80 * 2**20
"""The same for each thread more: a buffer and a stack of each of the two."""

PLENTY = 4 * 2**30
"""Bytes of addresses with which Arrow is left alone: a cluster's limit is no reason to be slow."""

M_ARENA_MAX = -8
"""Of glibc's mallopt: every thread else sets 64 MiB apart."""


@cache
def load_blas() -> None:
    """Load both libraries and let them multiply what is large enough to need the buffers."""
    import numpy as np
    from scipy.linalg.blas import dgemm

    square = np.ones((256, 256))
    np.matmul(square, square)
    dgemm(1.0, square, square)


def load_blas_under_limit() -> None:
    """The same where address space is limited, with one thread where there is no room for more.

    Raises:
        MemoryError: there is no room for one.
    """
    if load_blas.cache_info().currsize or not is_limited():
        return
    from tofu_eval.core.worker_pool import cores

    if not _has_room(ROOM + (cores() - 1) * ROOM_PER_THREAD):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        if not _has_room(ROOM):
            raise MemoryError(
                f"the limit of address space (ulimit -v) leaves less than {ROOM >> 20} MiB"
            )
    load_blas()
    if not _has_room(PLENTY):
        _load_arrow()


def _load_arrow() -> None:
    """Arrow with little of its own: its allocators set more apart than they need."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):  # of other C libraries than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _has_room(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        return False
    return True
