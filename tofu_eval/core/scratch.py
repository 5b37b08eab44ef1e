"""Folders for what is needed for a while only: gone with their process, however it ends.

A process that is killed cannot remove its folder; the next that needs one does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "tofu-eval-scratch-"
LOCK = ".lock"

_held: dict[Path, FileLock] = {}


def make_scratch() -> Path:
    """A new folder in the system's temporary one, until `remove_scratch` or our death."""
    _remove_dead()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = FileLock(folder / LOCK)
    lock.acquire()
    _held[folder] = lock
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove a folder of `make_scratch`."""
    if lock := _held.pop(folder, None):
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder until the block ends."""
    folder = make_scratch()
    try:
        yield folder
    finally:
        remove_scratch(folder)


def _remove_dead() -> None:
    """Remove the folders of processes that are no more; of other users' nothing can be removed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not (folder / LOCK).exists():
            continue  # being made; or of one that was killed while it was
        with suppress(OSError, Timeout, NotImplementedError):
            lock = FileLock(folder / LOCK)
            lock.acquire(timeout=0)
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)
