"""Scores and run.json of models whose frontier is known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tofu_eval.analysis.frontier import Frontier, frontier
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Score

Models = dict[str, tuple[str, int | None, float, float, float]]
"""By name: series, seed, temperature, quality and diversity."""

SWEEP: Models = {
    "sft-T0.5": ("sft", None, 0.5, 0.9, 2.0),
    "sft-T1": ("sft", None, 1.0, 0.8, 4.0),
    "sft-T1.5": ("sft", None, 1.5, 0.4, 6.0),
    "tofu-T0.5": ("tofu", None, 0.5, 0.8, 4.5),
    "tofu-T1": ("tofu", None, 1.0, 0.6, 6.0),
    "tofu-T1.5": ("tofu", None, 1.5, 0.4, 6.5),
}


def manifest(models: Models = SWEEP, **metrics: tuple[str, str, str]) -> dict[str, Any]:
    """run.json of these models; metrics by name: direction and range."""
    facts = {"reward": ("higher", "-inf", "inf"), "vendi": ("higher", "1", "n"), **metrics}
    described = {}
    for name, (series, seed, temperature, *_) in models.items():
        described[name] = {"series": series, "temperature": temperature, "engine": "hf"}
        if seed is not None:
            described[name]["seed"] = seed
    return {
        "models": described,
        "tasks": {"open": {"sampling": {"temperature": 1.0}}},
        "metrics": {
            name: {"direction": direction, "range": [low, high]}
            for name, (direction, low, high) in facts.items()
        },
    }


def scores(models: Models = SWEEP, prompts: int = 40, noise: float = 0.05) -> list[Score]:
    """Each model's two means, with what makes a prompt hard the same for all models."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.2, prompts)
    rows = []
    for model, (_, _, _, quality, diversity) in models.items():
        for metric, mean in (("reward", quality), ("vendi", diversity)):
            own = hard + rng.normal(0, noise, prompts)
            for i, value in enumerate(mean + own - own.mean()):
                rows.append(Score(model, "open", f"p{i}", metric, float(value), None, 10))
    return rows


def made(rows: list[Score] | None = None, models: Models = SWEEP, **options: Any) -> Frontier:
    table = to_table(scores(models) if rows is None else rows, SCORE_SCHEMA)
    wanted: dict[str, Any] = {"task": "open", "quality": "reward", "diversity": "vendi"}
    return frontier(table, manifest(models), **{**wanted, "resamples": 300, **options})


def with_seeds(gains: list[float]) -> Models:
    """tofu above sft by a gain a seed, at every quality."""
    models: Models = {}
    for seed, gain in enumerate(gains):
        for series, plus in (("sft", 0.0), ("tofu", gain)):
            models[f"{series}-{seed}-T0.5"] = (series, seed, 0.5, 0.9, 2.0 + plus)
            models[f"{series}-{seed}-T1"] = (series, seed, 1.0, 0.7, 4.0 + plus)
    return models
