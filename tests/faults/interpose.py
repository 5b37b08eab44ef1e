"""The shim that stands between a command and the file system, as Python sees it."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SHIM = Path(__file__).with_name("shim.c")
PATH_MAX = 4096

KINDS = ("create", "write", "rename", "unlink", "fsync", "mkdir", "link")
MODES = (
    *("count", "kill", "tear", "kill all", "SIGTERM", "Ctrl-C"),
    *("disk full", "read-only", "permission", "failing"),
)
"""In the order of shim.c: `tear` is a kill in the middle of a write, `kill all` takes the children
along, `failing` is one operation that fails with an input/output error."""


class _State(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("at", "mode", "main", "count", "fired")),
        ("kinds", ctypes.c_int64 * len(KINDS)),
        ("fired_kind", ctypes.c_int64),
        ("fired_path", ctypes.c_char * PATH_MAX),
        ("root", ctypes.c_char * PATH_MAX),
    )


@dataclass(frozen=True)
class Seen:
    """What the shim saw: operations below the root, and the one at which it did harm."""

    count: int
    fired: bool
    kind: str
    path: str


def build_shim(folder: Path) -> Path:
    """Compile the shim; it takes a C compiler."""
    library = folder / "shim.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"]
    subprocess.run(command, check=True)
    return library


def arm(file: Path, root: Path, mode: str, at: int) -> None:
    """Write what the shim of a command is to do."""
    state = _State(at=at, mode=MODES.index(mode), root=str(root).encode())
    file.write_bytes(bytes(state))


def attach(file: Path) -> None:
    """Let the shim of this process, and of those that it will start, obey a file."""
    shim = ctypes.CDLL(None)
    assert shim.faults_size() == ctypes.sizeof(_State)
    assert shim.faults_attach(str(file).encode()) == 0
    os.environ["FAULTS_STATE"] = str(file)


def read_seen(file: Path) -> Seen:
    """What the shim wrote into its file."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        state = _State.from_buffer_copy(view)
    path = state.fired_path.decode(errors="replace")
    return Seen(state.count, bool(state.fired), KINDS[state.fired_kind], path)
