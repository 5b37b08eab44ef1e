"""What made a run: the tool's version and git revision, the packages, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tofu_eval import __version__

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
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | None]:
    """The kind of machine, without its name."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent.parent
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
