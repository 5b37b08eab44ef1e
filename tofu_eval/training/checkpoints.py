"""What lies in the directory of a training: training.json and checkpoints."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tofu_eval.core.bounded import read_bounded, read_json
from tofu_eval.core.errors import StoreError
from tofu_eval.core.models import TRAINED

STATE = "trainer_state.json"
"""What transformers writes last into a checkpoint."""


def read_manifest(path: Path) -> dict[str, Any] | None:
    """training.json; None in a directory that is new or empty."""
    file = path / TRAINED
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file. Use a new or empty directory as --output.")
    if not file.exists():
        if path.exists() and any(not child.name.startswith(".") for child in path.iterdir()):
            raise StoreError(
                f"{path} is not empty and not a training. Use a new or empty directory as --output."
            )
        return None
    try:
        manifest = read_json(file)
        manifest["asked"].items(), manifest["status"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{file} is damaged. Restore that file or use a new --output.") from error
    return dict(manifest)


def whole_checkpoints(path: Path) -> list[Path]:
    """The whole checkpoints, the newest last; one whose saving was interrupted is passed over."""
    return sorted((p for p in path.glob("checkpoint-*") if step_of(p) > 0), key=step_of)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that a killed process left in checkpoints: safetensors', ours."""
    for file in path.glob("checkpoint-*/.tmp*"):
        if file.is_file():
            with suppress(OSError):  # it is in nobody's way
                file.unlink()


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint; 0 if it is not whole."""
    try:
        state = json.loads(read_bounded(checkpoint / STATE))
        entries = state["log_history"]
        return int(state["global_step"]) if all(isinstance(e, dict) for e in entries) else 0
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
