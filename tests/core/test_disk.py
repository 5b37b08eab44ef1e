"""A disk that refuses, as each library says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import SafetensorError

from tofu_eval.core.disk import explain_saving
from tofu_eval.core.errors import StoreError

FULL = "No space left on device"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, FULL),
        Exception(f"{FULL} (os error 28)"),  # tokenizers
        SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),  # torch
    ],
)
def test_a_disk_that_refuses_is_one_line(error: Exception) -> None:
    line = r"^Cannot write out: .+\. Make room or choose another"
    with pytest.raises(StoreError, match=line), explain_saving(Path("out")):
        raise error


@pytest.mark.parametrize("error", [OSError("no model there"), RuntimeError("shape"), KeyError(28)])
def test_what_is_not_the_disks_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), explain_saving(Path("out")):
        raise error
