"""Sets of responses that people judged, and what a metric's values say of their judgement."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

RESAMPLES = 200
FOLDS = 5


@dataclass(frozen=True)
class Sets:
    """The sets of one file."""

    name: str
    ids: list[str]
    groups: list[Any]
    labels: np.ndarray
    people: np.ndarray

    @property
    def kind(self) -> str:
        """`con_test` of con_test_200_with_hds_resp_gen.csv."""
        return "_".join(self.name.split("_")[:2])

    @property
    def two_labels(self) -> bool:
        return set(self.labels) <= {0.0, 1.0}


def read_sets(path: Path, limit: int | None) -> Sets:
    from tofu_eval.core.types import Group, Prompt

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    groups = [
        Group(
            Prompt.of_text(f"{number}", row["context"]),
            tuple(text for name, text in row.items() if name.startswith("resp_") and text),
        )
        for number, row in enumerate(rows)
    ]
    return Sets(
        path.stem,
        [row["sample_id"] for row in rows],
        groups,
        np.array([float(row["label_value"]) for row in rows]),
        np.array([float(row["metric_abs_hds_mean"]) for row in rows]),
    )


# What a metric's values say of the labels


def best_accuracy(values: np.ndarray, labels: np.ndarray) -> float:
    """The best accuracy of one threshold: sets above it are called diverse."""
    return accuracy_at(values, labels, best_threshold(values, labels))


def best_threshold(values: np.ndarray, labels: np.ndarray) -> float:
    order = np.sort(np.unique(values))
    cuts = np.concatenate([[order[0] - 1.0], (order[:-1] + order[1:]) / 2, [order[-1] + 1.0]])
    positive = np.sort(values[labels == 1.0])
    negative = np.sort(values[labels != 1.0])
    right = len(positive) - np.searchsorted(positive, cuts, side="right")
    right = right + np.searchsorted(negative, cuts, side="right")
    return float(cuts[np.argmax(right)])


def accuracy_at(values: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    return float(((values > threshold) == (labels == 1.0)).mean())


def crossed_accuracy(values: np.ndarray, sets: Sets) -> float:
    """Accuracy on each fifth of the prompts at the threshold of the other four."""
    names = sorted(set(sets.ids))
    folds = {name: number % FOLDS for number, name in enumerate(names)}
    fold = np.array([folds[id] for id in sets.ids])
    right = 0.0
    for number in range(FOLDS):
        test = fold == number
        if test.any() and not test.all():
            cut = best_threshold(values[~test], sets.labels[~test])
            right += accuracy_at(values[test], sets.labels[test], cut) * test.sum()
    return right / len(values)


def rho(one: np.ndarray, other: np.ndarray) -> float:
    if len(set(one)) < 2:
        return 0.0
    return float(spearmanr(one, other).statistic)


def resampled_error(values: Sequence[np.ndarray], files: Sequence[Sets]) -> float:
    """Standard error of the mean OCA over files, sets drawn with replacement."""
    random = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        picks = [random.integers(0, len(v), len(v)) for v in values]
        means.append(
            np.mean(
                [
                    best_accuracy(v[pick], sets.labels[pick])
                    for v, pick, sets in zip(values, picks, files, strict=True)
                ]
            )
        )
    return float(np.std(means, ddof=1))


def partial_rho(values: np.ndarray, lengths: np.ndarray, people: np.ndarray) -> float:
    """Rank correlation with the texts' length, what people said held fixed."""
    ranks = [rankdata(row) for row in (values, lengths, people)]
    left = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    return rho(*left) if all(np.std(r) > 0 for r in left) else 0.0


def summary(values: Sequence[np.ndarray], files: Sequence[Sets], *, quick: bool) -> dict[str, Any]:
    """What one metric's values on all files say; undefined ones count as the least diverse."""
    filled = [np.where(np.isfinite(v), v, np.nanmin(v) if np.isfinite(v).any() else 0.0) - 0.0
              for v in values]  # fmt: skip
    row: dict[str, Any] = {"undefined": int(sum((~np.isfinite(v)).sum() for v in values))}
    for kind in dict.fromkeys(sets.kind for sets in files):
        some = [(v, sets) for v, sets in zip(filled, files, strict=True) if sets.kind == kind]
        row[kind] = {"rho_people": mean(rho(v, sets.people) for v, sets in some)}
        if all(sets.two_labels for _, sets in some):
            row[kind]["oca"] = mean(best_accuracy(v, sets.labels) for v, sets in some)
            row[kind]["oca_cv"] = mean(crossed_accuracy(v, sets) for v, sets in some)
            if not quick:
                error = resampled_error([v for v, _ in some], [sets for _, sets in some])
                row[kind]["oca_se"] = round(error, 4)
        else:
            row[kind]["rho_label"] = mean(rho(v, sets.labels) for v, sets in some)
        lengths = [
            np.array([np.mean([len(t) for t in g.texts]) for g in s.groups]) for _, s in some
        ]
        row[kind]["rho_length"] = mean(
            partial_rho(v, length, sets.people)
            for (v, sets), length in zip(some, lengths, strict=True)
        )
    return row


def mean(numbers: Any) -> float:
    return round(float(np.mean(list(numbers))), 4)
