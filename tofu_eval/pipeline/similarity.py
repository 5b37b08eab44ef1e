"""How alike the responses of two models are: whether models that should differ say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis import Interval, mean_interval
from tofu_eval.core.errors import UnknownNameError
from tofu_eval.core.types import Report, digest, no_report
from tofu_eval.features.open import OpenFeature
from tofu_eval.pipeline.inputs import KeptFeature, featurize
from tofu_eval.run.responses import Groups
from tofu_eval.run.store import Run

CHUNK = 64
"""Prompts whose embeddings are in memory together."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """Mean cosine of two responses to a prompt, one of each model; of one model, of two of its own.

    `interval` is the mean over prompts, in [-1, 1], with its 95% interval.
    """

    task: str
    model: str
    other: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of `n` unit vectors, (d,)."""

    vector: NDArray[np.float64]
    n: int


def similarities(
    run: Run,
    embedder: OpenFeature,
    tasks: Sequence[str] = (),
    *,
    seed: int = 0,
    report: Report = no_report,
) -> list[Similarity]:
    """Every pair of models of a run, a model with itself among them, on each task.

    Embeddings that the run has are used; others are computed and kept.

    Args:
        run: opened for writing.
        embedder: what gives a text its unit vector.
        tasks: only these; by default all.
        seed: decides the resamples of prompts.
        report: told about embeddings that are computed.

    Raises:
        UnknownNameError: the run has no such task.
        ModelError: an embedding is needed and the model cannot be had.
    Source: Jiang et al., Artificial Hivemind, arXiv:2510.22954 (intra- and inter-model similarity).
    """
    for task in tasks:
        if task not in run.manifest["tasks"]:
            raise UnknownNameError.of(
                "task", task, run.manifest["tasks"], f"tofu-eval compare {run.path}"
            )
    rows = []
    for task in tasks or run.manifest["tasks"]:
        means = {
            model: _means(run, model, task, embedder, report)
            for model in run.manifest["models"]
            if run.has_responses(model=model, task=task)
        }
        for model, other in combinations_with_replacement(means, 2):
            values = [
                mean_within(mean) if model == other else mean_between(mean, means[other][prompt])
                for prompt, mean in means[model].items()
                if prompt in means[other]
            ]
            interval = mean_interval(values)
            rows.append(Similarity(task, model, other, interval))
    return rows


def mean_within(mean: Mean) -> float | None:
    """Mean cosine of two of the n responses: (n ‖m‖² − 1) / (n − 1); None for fewer than two."""
    if mean.n < 2:
        return None
    return float((mean.n * (mean.vector @ mean.vector) - 1) / (mean.n - 1))


def mean_between(one: Mean, other: Mean) -> float:
    """Mean cosine of a response of each: the product of the means."""
    return float(one.vector @ other.vector)


def _means(
    run: Run, model: str, task: str, embedder: OpenFeature, report: Report
) -> Mapping[str, Mean]:
    kept = KeptFeature(embedder, run.features(embedder.name, digest(embedder.identity)))
    means = {}
    for _, chunk in Groups(run, model, task).chunks(CHUNK):
        for group in featurize(chunk, kept, report):
            rows = np.asarray(group.features[embedder.name], dtype=np.float64)
            means[group.prompt.id] = Mean(rows.mean(axis=0), len(rows))
    return means
