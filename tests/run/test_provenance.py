from __future__ import annotations

import os
from pathlib import Path

import pytest

from tofu_eval.run import provenance


def test_a_machine_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    found = provenance.machine()
    assert set(found) == {"system", "processor", "cores", "memory_gib", "accelerators"}
    assert found["memory_gib"] is None or found["memory_gib"] >= 1
    assert found["accelerators"] == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA H100'; echo 'NVIDIA H100'", ["NVIDIA H100", "NVIDIA H100"]),
        ("echo 'no driver'; exit 9", []),
    ],
)
def test_gpus_by_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: list[str]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.machine()["accelerators"] == expected
