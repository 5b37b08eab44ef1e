"""OpenBLAS under a limit of address space."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.processes import needs_limits

from tofu_eval.core.blas import ROOM

START = """
import resource, sys
from pathlib import Path
from tofu_eval.cli import main
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main(["losses", "list"], prog_name="tofu-eval")
"""


@needs_limits
@pytest.mark.parametrize("mib", [0, 60, 120, 240])
def test_a_limit_that_leaves_no_room_is_one_line(mib: int) -> None:
    """With 120 to 130 MiB SciPy's library found room for itself and tried for ever for more."""
    done = subprocess.run(
        [sys.executable, "-c", START, str(mib)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: Not enough memory: ")
    assert done.stderr.count("\n") == 1


THREADS = """
import resource, sys
from pathlib import Path
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[1]) << 20), resource.RLIM_INFINITY))
from tofu_eval.core.blas import load_blas_under_limit
load_blas_under_limit()
import pyarrow as pa
print(pa.cpu_count(), pa.default_memory_pool().backend_name)
"""


@needs_limits
def test_arrow_is_small_where_little_is_left() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    said = [
        subprocess.run(
            [sys.executable, "-c", THREADS, str(mib)],
            capture_output=True, text=True, timeout=60, env=environment,
        ).stdout
        for mib in (2048, 8192)
    ]  # fmt: skip
    assert said[0] == "1 system\n"
    assert said[1] not in ("", said[0])


PRODUCT = """
import os, resource, sys
from pathlib import Path
def used():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
from tofu_eval.core.blas import load_blas_under_limit
load_blas_under_limit()
import numpy as np
from scipy.linalg import lu
square, into = np.ones((500, 500)), np.ones((500, 500))
lu(square)
resource.setrlimit(resource.RLIMIT_AS, (used(), resource.RLIM_INFINITY))
np.matmul(square, square, out=into)
print(into[0, 0], os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@needs_limits
def test_a_product_with_nothing_left() -> None:
    """Buffers are there; where several threads find no room, one does."""
    room = ROOM + (30 << 20)
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT, str(room)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    several = len(os.sched_getaffinity(0)) > 1
    assert done.stdout == f"500.0 {'1' if several else None}\n", done.stderr
