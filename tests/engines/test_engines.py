from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core.errors import DuplicateNameError, MissingDependencyError, UnknownNameError
from tofu_eval.core.models import parse_model
from tofu_eval.engines.open import ENGINES, engine, open_engine


def test_the_transformers_engine_opens_by_name(tiny_model: Path) -> None:
    opened = open_engine("transformers", parse_model(str(tiny_model)), device="cpu")
    assert opened.family == "transformers"
    assert "transformers" in [entry.name for entry in ENGINES.entries()]
    opened.close()


def test_an_unknown_engine() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown engine 'transformer'\. Did you mean 'tra"):
        open_engine("transformer", parse_model("m=./x"))


def test_two_engines_of_one_name() -> None:
    def open_mine(spec: Any, **options: Any) -> Any: ...

    with pytest.raises(DuplicateNameError, match="Two engines are called 'transformers'"):
        engine("transformers")(open_mine)


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "loading", "draw"):
        monkeypatch.delitem(sys.modules, f"tofu_eval.engines.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError) as caught:
        open_engine("transformers", parse_model("m=./x"))
    assert str(caught.value) == (
        "The transformers engine needs the package 'torch', which is not installed. "
        "Install it: pip install 'tofu-eval[hf]'"
    )


def test_a_missing_peft_is_named(
    tiny_model: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match="An adapter needs the package 'peft'"):
        open_engine("transformers", parse_model(f"m={tiny_model}+{tiny_adapter}"), device="cpu")


def test_importing_the_registry_imports_no_framework() -> None:
    code = (
        "import sys, tofu_eval.engines as e; e.ENGINES.entries(); "
        "print([m for m in ('torch', 'transformers', 'peft', 'huggingface_hub') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
