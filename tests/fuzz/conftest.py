"""A folder of their own for the fuzzers, and a table of what they tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fuzz.reading import COUNTS, EXAMPLES


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not EXAMPLES:
        return
    terminalreporter.section("inputs by reader")
    for name, counts in sorted(COUNTS.items()):
        read, refused = counts["read"], counts["refused"]
        terminalreporter.line(
            f"{name:32} {read + refused:8,} inputs: {read:,} read, {refused:,} refused"
        )
    total = sum(sum(counts.values()) for counts in COUNTS.values())
    terminalreporter.line(f"{'all':32} {total:8,} inputs")
