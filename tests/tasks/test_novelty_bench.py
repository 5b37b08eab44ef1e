"""NoveltyBench's published Gemini 1.5 Pro rows, through the task's own path.

The published prompts stand in a data folder; the published answers are what the engine says; the
published classes are what a judge says of two answers; the published points are raw rewards of a
reward model with NoveltyBench's thresholds as its calibration.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tofu_eval as te
from tofu_eval.core.types import Response
from tofu_eval.features.calibration import Calibration, cite_calibration, presets, write_calibration
from tofu_eval.features.custom import JUDGES, REWARD_MODELS, judge, reward_model

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
FOLDER = SHARED / "noveltybench"
TASK = "novelty-bench-curated"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no golden data in {FOLDER}: set TOFU_EVAL_SHARED_DATA"
)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text("utf-8").splitlines()]


class Replay:
    """An engine that gives the published answers, in their order."""

    family = "replay"
    identity = {"kind": "replay", "model": "gemini-1.5-pro"}  # noqa: RUF012

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        self.rows = rows

    def generate(self, requests, done=()) -> Iterator[list[Response]]:
        responses = []
        for r in requests:
            text = self.rows[r.prompt_id]["generations"][r.sample]
            place = (r.key, r.model, r.task, r.prompt_id, r.sample)
            responses.append(Response(*place, text, finish_reason="stop", seed=r.seed))
        yield responses

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[te.Result]:
    home = tmp_path_factory.mktemp("novelty-bench")
    rows = {row["id"]: row for row in lines("gemini-1.5-pro.curated.jsonl")}
    asked = [row for row in lines("curated.jsonl") if row["id"] in rows]
    (home / f"{TASK}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    by_text = {row["prompt"]: row for row in rows.values()}
    thresholds = presets()["Skywork/Skywork-Reward-Gemma-2-27B-v0.2"].thresholds

    def class_of(prompt: str, text: str) -> int:
        row = by_text[prompt]
        return row["partition"][row["generations"].index(text)]

    @judge(name="published-classes")
    def classes(questions):
        said = []
        for question in questions:
            prompt, one, other = re.search(
                r"\n\nPrompt: (.*)\n\nResponse A: (.*)\n\nResponse B: (.*)\Z", question, re.DOTALL
            ).groups()
            said.append("yes" if class_of(prompt, one) == class_of(prompt, other) else "no")
        return said

    @reward_model(name="published-points")
    def points(pairs):
        values = []
        for prompt, text in pairs:
            row = by_text[prompt.text]
            # 0 stands for a class that was seen before, whose points nobody published.
            told = max(
                p for t, p in zip(row["generations"], row["generation_scores"], strict=True)
                if t == text
            )  # fmt: skip
            values.append([*thresholds, 0.0][max(told, 1) - 1])
        return values

    made = REWARD_MODELS.get("published-points")
    signature = cite_calibration(made.signature, thresholds)
    calibration = Calibration(thresholds, made.identity, signature, "NoveltyBench")
    (home / "calibration.yaml").write_text(write_calibration(calibration))
    try:
        yield te.evaluate(
            {"gemini": Replay(rows)},
            TASK,
            home / "run",
            data_dir=home,
            equivalence={"method": "judge"},
            judge={"model": "published-classes"},
            reward={
                "model": "published-points",
                "calibration": str(home / "calibration.yaml"),
            },
            metrics=["distinct_k", "distinct_k@novelty-bench-1.0", "utility_k"],
        )
    finally:
        JUDGES._items.pop("published-classes")
        REWARD_MODELS._items.pop("published-points")


def test_every_published_row(result: te.Result) -> None:
    golden = json.loads((FOLDER / "golden.json").read_text("utf-8"))["prompts"]
    found = {(r["prompt_id"], r["metric"]): r["value"] for r in result.scores.to_pylist()}
    rows = lines("gemini-1.5-pro.curated.jsonl")
    assert len(rows) == 50
    for row in rows:
        id = row["id"]
        assert found[id, "distinct_k"] == golden[id]["distinct_classes"]
        assert found[id, "distinct_k@novelty-bench-1.0"] == max(row["partition"]) == row["distinct"]
        assert found[id, "utility_k"] == pytest.approx(row["utility"], abs=1e-12)


def test_means(result: te.Result) -> None:
    means = {row["metric"]: row["value"] for row in result.estimates.to_pylist()}
    assert means["distinct_k"] == pytest.approx(1.8)
    assert means["utility_k"] == pytest.approx(2.907247, abs=1e-6)
