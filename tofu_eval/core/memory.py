"""Memory that runs out, and that is given back: which errors say so, and what makes room."""

from __future__ import annotations

import errno
import gc
import mmap
import sys
import traceback
from contextlib import suppress

SAYINGS = (
    *("not enough memory", "allocate memory", "out of memory", "bad_alloc"),
    "failed to map segment",  # the loader of libraries
    *("launch worker thread", "create failed"),  # Arrow's threads, and what unpacks its pages
)
"""How libraries say it in an error of no class of its own, in small letters."""

RESERVE = 16 * 2**20
"""Bytes kept free for what an error costs: Python takes its memory in pieces of one MiB."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    error = _first_of_import(error)
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if isinstance(error, SystemError):  # C code that found no room and did not say so
        return is_limited()
    # Of torch's allocators CUDA's alone has a class of its own, which is a RuntimeError too.
    known = isinstance(error, RuntimeError | OSError | ImportError)
    return (known or type(error).__module__ == "pyarrow.lib") and (
        type(error).__name__ == "OutOfMemoryError"
        or any(saying in str(error).lower() for saying in SAYINGS)
    )


def say_shortage(error: BaseException) -> str:
    """What an error of that kind says, in one line without a full stop."""
    said = " ".join(str(_first_of_import(error)).split())[:200].rstrip(".")
    return said or "an object found no room"


def _first_of_import(error: BaseException) -> BaseException:
    """What an import failed of: NumPy's errors around it say much else."""
    while isinstance(error, ImportError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def is_limited() -> bool:
    """Whether this process may have so many addresses only (`ulimit -v`, `ulimit -d`)."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return False
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in kinds)


def check_addresses(size: int, what: str) -> None:
    """Refuse what would end this process, because it does not ask whether there is room.

    Raises:
        MemoryError: `ulimit -v` leaves less than `size` bytes, which `what` takes.
    """
    if sys.platform != "linux":  # elsewhere nothing says how many are taken
        return
    import resource
    from pathlib import Path

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit - taken < size:
        raise MemoryError(
            f"{what} takes {size >> 20} MiB of addresses, and the limit (ulimit -v) leaves "
            f"{max(0, limit - taken) >> 20}"
        )


def reserve_memory() -> mmap.mmap:
    """Room for the moment in which there is none; `close()` gives it back.

    Nothing is written into it: it counts against a limit of address space and takes no memory.

    Raises:
        OSError: there is no room for it either; `is_out_of_memory` knows it.
    """
    return mmap.mmap(-1, RESERVE)


def forget_frames(error: BaseException | None) -> None:
    """Free what the frames hold that an error, and those that it came of, went through.

    Their lines can still be shown; the values of their variables cannot.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def free_memory() -> None:
    """Give back what nothing holds any more: objects in circles, free heap, a device's cache."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        # glibc keeps what was freed below the top of its heap; other C libraries have no such call.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch is not None and torch.backends.mps.is_available():
        torch.mps.empty_cache()
