from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tofu_eval.core.tables import ESTIMATE_SCHEMA, to_table
from tofu_eval.core.types import Estimate
from tofu_eval.leaderboard import Board, build_leaderboard


def facts(direction: str = "higher", range: tuple[str, str] = ("1", "n")) -> dict[str, Any]:
    """What run.json says about a metric."""
    return {
        "version": 1,
        "direction": direction,
        "measures": "diversity",
        "range": list(range),
        "paper": "arXiv:2210.02410",
        "package": {"name": "tofu-eval", "version": "0.1.0"},
    }


@pytest.fixture
def manifest() -> dict[str, Any]:
    """run.json as the pipeline writes it, with parts that a leaderboard has no use for."""
    return {
        "format": 1,
        "status": "complete",
        "tool": {"name": "tofu-eval", "version": "0.1.0", "git_revision": None},
        "created": "2026-03-01T12:30:00+00:00",
        "id": "00000000000000aa",
        "finished": "2026-03-01T13:00:00+00:00",
        "versions": {"python": "3.11.7"},
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
        "timings": {"generate base": 60.5, "score": 2.5},
        "tokens": {"base": {"open-prompts": 1200}},
        "settings": {"seed": 0},
        "tasks": {
            "open-prompts": {
                "version": 1,
                "prompts": 60,
                "digest": "ab" * 32,
                "sampling": {"samples": 10, "temperature": 1.0, "top_p": 1.0, "max_tokens": 256},
                "licence": "Apache-2.0",
                "source": "inline",
                "citation": "",
                "package": {"name": "tofu-eval", "version": "0.1.0"},
            }
        },
        "models": {
            "base": {
                "identity": {"files": {"w": "c0"}},
                "engine": "hf",
                "prompt_format": {"open-prompts": "base"},
            },
            "theirs": {"identity": {"rows": 600}, "engine": "file", "prompt_format": {}},
        },
        "metrics": {
            "vendi": facts(),
            "self_bleu": facts("lower", ("0", "100")),
            "of another scoring": facts(),
        },
    }


@pytest.fixture
def estimates() -> pa.Table:
    def estimate(model: str, metric: str, *numbers: Any) -> Estimate:
        return Estimate(model, "open-prompts", metric, *numbers, "bootstrap", f"{metric}|v:1")

    rows = [
        estimate("base", "vendi", 4.5, 4.25, 4.75, 59, 1),
        estimate("theirs", "vendi", 3.5, None, None, 1, 59),
        estimate("base", "self_bleu", None, None, None, 0, 60),
        estimate("theirs", "self_bleu", 76.0, 70.5, 81.25, 60, 0),
    ]
    return to_table(rows, ESTIMATE_SCHEMA)


@pytest.fixture
def board(estimates: pa.Table, manifest: dict[str, Any]) -> Board:
    return build_leaderboard(estimates, manifest)
