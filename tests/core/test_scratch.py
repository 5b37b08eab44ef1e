"""Folders for a while: removed when done, and by the next process where one was killed."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from tofu_eval.core.scratch import PREFIX, make_scratch, remove_scratch, scratch


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_lives_as_long_as_its_block(temporary: Path) -> None:
    with scratch() as folder:
        (folder / "weights").write_text("x")
        assert folder.parent == temporary
        with scratch() as other:
            assert folder.exists()  # it is not taken for a dead one's
            assert other != folder
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next(temporary: Path) -> None:
    child = os.fork()
    if child == 0:
        (make_scratch() / "weights").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(temporary.glob(f"{PREFIX}*"))) == 1
    remove_scratch(make_scratch())
    assert list(temporary.iterdir()) == []
