"""How much of a prompt's score is the luck of its samples: what more samples would take away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tofu_eval.analysis import Noise
from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, TofuEvalError
from tofu_eval.core.types import Group, digest
from tofu_eval.features.open import open_features
from tofu_eval.features.settings import stored_settings
from tofu_eval.metrics import Metric, find
from tofu_eval.pipeline.inputs import KeptFeature
from tofu_eval.pipeline.score import score_groups
from tofu_eval.pipeline.score_run import SCORE_CHUNK
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

Place = tuple[str, str, str]
"""Model, task and metric."""

_LEAST = 4
"""Responses that make two halves of two."""


def sampling_noise(run: Run, metrics: Sequence[str]) -> tuple[dict[Place, Noise], list[str]]:
    """Score the halves of each prompt's responses against each other.

    Formula: mean over prompts of (h₁ − h₂)² / 4, h the score of the even and of the odd samples:
        half of what two halves differ by is the variance of one, and a score of twice the samples
        varies half as much. What the number of samples does to the expected value cancels.
    Args:
        run: with responses and scores; nothing is written to it.
        metrics: names; those of the whole corpus, or undefined on halves, are left out.
    Returns: by model, task and metric; and a remark for each metric of which nothing can be said.
    """
    ready, features, remarks = _ready(run, metrics)
    truncate = run.manifest["settings"].get("truncate")
    sums: dict[Place, list[float]] = {}
    for model, task in ((m, t) for m in run.manifest["models"] for t in run.manifest["tasks"]):
        for _, chunk in Groups(run, model, task).chunks(SCORE_CHUNK):
            groups = [group for group in chunk if len(group.texts) >= _LEAST]
            halves = [_half(group, start) for group in groups for start in (0, 1)]
            rows = score_groups(halves, ready, features, truncate=truncate) if halves else []
            for group, even, odd in zip(groups, rows[::2], rows[1::2], strict=True):
                for one, other in zip(even, odd, strict=True):
                    if one.value is not None and other.value is not None:
                        total = sums.setdefault((model, task, one.metric), [0.0, 0.0, 0.0])
                        total[0] += (one.value - other.value) ** 2 / 4
                        total[1] += len(group.texts)
                        total[2] += 1
    return {place: Noise(v / n, k / n) for place, (v, k, n) in sums.items()}, remarks


def _half(group: Group, start: int) -> Group:
    """Every second response, with what the engine said of it."""
    features = {name: rows[start::2] for name, rows in group.features.items()}
    return replace(group, texts=group.texts[start::2], features=features)


def _ready(
    run: Run, metrics: Sequence[str]
) -> tuple[list[Metric], Mapping[str, KeptFeature], list[str]]:
    """The metrics whose features the run holds already: nothing is computed by a model here."""
    chosen = stored_settings(run.manifest["settings"])
    ready: list[Metric] = []
    features: dict[str, KeptFeature] = {}
    remarks = []
    for name in metrics:
        try:
            metric = find(name)
            if metric.level != "group":
                continue
            features |= dict(_cached_features(run, chosen, metric))
            ready.append(metric)
        except TofuEvalError as error:
            remarks.append(f"What more samples would do to {name} is not known: {error}")
    return ready, features, remarks


def _cached_features(
    run: Run, chosen: Settings, metric: Metric
) -> Iterator[tuple[str, KeptFeature]]:
    """The features that a metric needs, with the rows that the run has."""
    recorded = run.manifest.get("features", {})
    for name, feature in open_features(chosen, [metric]).items():
        identity = feature.identity
        if digest(recorded.get(name, {}).get("identity")) != digest(identity):
            raise ConfigError(f"the run's '{name}' was made by another model than there is now.")
        yield name, KeptFeature(feature, run.features(name, digest(identity)))
