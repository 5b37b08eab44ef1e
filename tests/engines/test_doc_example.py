"""The engine that docs/engines.md shows, run as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.fakes import FakeEngine

import tofu_eval as te
from tofu_eval.core.types import ModelSpec
from tofu_eval.engines.open import ENGINES

DOC = Path(__file__).parents[2] / "docs" / "engines.md"


class MyEngine(FakeEngine):
    """What the reader has at that place: an engine that opens a `ModelSpec`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.identity = {**self.identity, "id": spec.model}


def test_the_example_opens_and_generates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("my_package")
    package.MyEngine = MyEngine
    monkeypatch.setitem(sys.modules, "my_package", package)
    monkeypatch.setattr(ENGINES, "_items", dict(ENGINES._items))
    (snippet,) = re.findall(r"```python\n(.*?)```", DOC.read_text("utf-8"), flags=re.DOTALL)
    exec(compile(snippet, str(DOC), "exec"), {})

    task = te.Task("fruit", 1, lambda: [te.Prompt.of_text("1", "Name a fruit:")])
    result = te.evaluate(
        {"m": "anything"}, [task], tmp_path, engine="mine", samples=4, metrics=["unique_rate"]
    )
    assert result.scores.to_pylist()[0]["n"] == 4
