"""Ray on this machine, and which processes of it are actors at work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cluster() -> Iterator[None]:
    """A cluster that is started here when it is needed; its actors import what the tests can."""
    before = os.environ.get("PYTHONPATH")
    paths = [str(Path(__file__).parents[1]), before]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    yield
    import ray

    ray.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def actors() -> list[int]:
    """Process ids of this cluster's actors that hold something."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ray::MapWorker" in command and _is_ours(int(entry.name)):
                found.append(int(entry.name))
    return found


def _is_ours(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
