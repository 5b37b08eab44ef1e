"""OpenBLAS under a limit of address space, where it tries for ever instead of failing.

It takes its buffers when it is loaded and when a matrix product first needs them. What it has it
keeps, so it is made to take them while there is room.
"""

from __future__ import annotations

import mmap
import os
from functools import cache

from tofu_eval.core.memory import is_limited

ROOM = 320 * 2**20
"""Bytes of addresses for NumPy, SciPy and the buffers of the OpenBLAS that each brings."""

ROOM_PER_THREAD = 80 * 2**20
"""The same for each thread more: a buffer and a stack of each of the two."""


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


def _has_room(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        return False
    return True
