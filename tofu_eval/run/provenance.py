"""What made a run: the tool's version and git revision, the packages, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tofu_eval.core.version import __version__

PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "nltk",
    "numpy",
    "peft",
    "pyarrow",
    "sacrebleu",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "vllm",
)


def tool() -> dict[str, str | None]:
    """Name, version and, in a git checkout of this project, the revision (`-dirty` if changed)."""
    return {"name": "tofu-eval", "version": __version__, "git_revision": _git_revision()}


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that a number can depend on."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:
            continue
    return by_package


def machine() -> dict[str, Any]:
    """The kind of machine, without its name: system, processor, cores, memory, NVIDIA GPUs."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "accelerators": _accelerators(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _memory_gib() -> int | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    except (AttributeError, OSError, ValueError):  # not every system says
        return None


def _accelerators() -> list[str]:
    """The names of the NVIDIA GPUs, one a card; asked without loading torch."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # none, or no driver
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or not (root / "pyproject.toml").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, no commit yet: nothing to record
        return None
    return done.stdout.strip() or None
