"""The lab's seeds put together: one task, models with a series, a seed and a temperature."""

from __future__ import annotations

from pathlib import Path

import pytest

from tofu_eval.lab.hotter import combine_seeds, hotter_sentences, lab_frontiers
from tofu_eval.lab.metrics import LAB_METRICS
from tofu_eval.lab.target import TargetEngine
from tofu_eval.lab.tasks import lab_task
from tofu_eval.pipeline.evaluate import evaluate


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The target under two names, at two temperatures, for two seeds."""
    folder = tmp_path_factory.mktemp("lab")
    paths = {seed: folder / f"seed-{seed}" for seed in (0, 1)}
    for seed, path in paths.items():
        evaluate(
            {"sft": TargetEngine(), "tofu": TargetEngine()},
            lab_task(seed, samples=8),
            path,
            metrics=LAB_METRICS,
            temperature=(0.7, 1.3),
            seed=seed,
        )
    return paths


def test_seeds_are_put_together(sweeps: dict[int, Path]) -> None:
    scores, manifest = combine_seeds(sweeps)
    assert scores.column("task").unique().to_pylist() == ["lab"]
    assert len(scores) == 2 * 2 * 2 * 26 * len(LAB_METRICS)
    described = manifest["models"]["tofu-T1.3-seed-1"]
    assert (described["series"], described["seed"], described["temperature"]) == ("tofu", 1, 1.3)
    assert set(scores.column("model").to_pylist()) == set(manifest["models"])


def test_the_same_model_under_another_name_is_not_better(sweeps: dict[int, Path]) -> None:
    distinct, unseen = lab_frontiers(sweeps, ["sft", "tofu"])
    assert (distinct.diversity_metric, unseen.diversity_metric) == (
        "lab_distinct_valid",
        "lab_unseen",
    )
    for found in (distinct, unseen):
        (contest,) = found.contests
        assert (contest.series, contest.other) == ("tofu", "sft")
        assert contest.by_seed == (0.0, 0.0)
        assert contest.verdict == "unclear"
        assert contest.hypervolume.value == 0
        assert len(found.points) == 8
        assert [(p.series, p.temperature) for p in found.curves] == [
            ("sft", 0.7), ("sft", 1.3), ("tofu", 0.7), ("tofu", 1.3),
        ]  # fmt: skip
    # Hotter, the target draws more different answers, all of them valid.
    cool, hot = distinct.curves[:2]
    assert (cool.quality, hot.quality) == (1, 1)
    assert hot.diversity > cool.diversity + 0.1
    assert hotter_sentences([distinct]) == [
        "It is not clear that tofu beats sampling sft hotter: distinct valid +0.00 [+0.00, +0.00] "
        "at validity 1 (2 seeds: +0, +0; interval over seeds [+0, +0]), adjusted p = 1."
    ]
