"""One loaded engine for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tofu_eval.core.models import parse_model
from tofu_eval.engines.transformers import TransformersEngine


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> Iterator[TransformersEngine]:
    """The tiny model in batches of 7."""
    engine = TransformersEngine(parse_model(f"tiny={tiny_model}"), batch_size=7, device="cpu")
    yield engine
    engine.close()


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))
