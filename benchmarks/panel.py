"""Would a fitted panel of metrics agree better with people than the best single one?

    python benchmarks/panel.py --data DIR --language-model MODEL --cache FOLDER

Nested cross-validation on the files with two labels that benchmarks/validity.py reads: in each
outer fold (a fifth of the prompts), what stands in the other four decides which of at most three
metrics count, by cross-validation within them, their weights by logistic regression, and one
threshold a file; the best single metric is chosen there in the same way. The last line is JSON:
both accuracies on prompts that decided nothing, their difference and its
paired standard error over sets.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from people import FOLDS, Sets, best_threshold, read_sets
from sklearn.linear_model import LogisticRegression
from validity import (
    encode,
    joined,
    open_encoders,
    texts_of,
    values_of,
    with_vectors,
)

OF_VECTORS = ("cosine_distance_given_prompt", "vendi_given_prompt")
OF_TEXTS = ("distinct_2", "self_bleu", "ngram_diversity", "rouge_l_homogenization")
MOST = 3


def candidates(
    files: list[Sets], model: str | None, cache: Path | None
) -> tuple[list[str], list[np.ndarray]]:
    """Names, and for each file (sets, metrics), undefined values as the least diverse."""
    from tofu_eval.metrics import find

    texts = texts_of(files)
    made = {
        name: encode(texts, encoder, cache)
        for name, encoder in open_encoders(["both"], model, "float32").items()
    }
    made["both"] = joined(list(made.values()))
    columns: dict[str, list[np.ndarray]] = {}
    for encoder, vectors in made.items():
        for number, groups in enumerate(with_vectors(files, texts, vectors.rows)):
            found = values_of([find(name) for name in OF_VECTORS], groups)
            for name, (values, _) in found.items():
                columns.setdefault(f"{name} | {encoder}", [])[number:] = [values]
    for number, sets in enumerate(files):
        for name, (values, _) in values_of([find(n) for n in OF_TEXTS], sets.groups).items():
            columns.setdefault(name, [])[number:] = [values]
    names = list(columns)
    tables = [np.stack([columns[name][i] for name in names], axis=1) for i in range(len(files))]
    return names, [np.where(np.isfinite(t), t, np.nanmin(t, axis=0)) for t in tables]


def right(
    tables: list[np.ndarray], files: list[Sets], train: list[np.ndarray], test: list[np.ndarray],
    chosen: tuple[int, ...],
) -> list[np.ndarray]:  # fmt: skip
    """Which sets of each file's `test` the metrics tell rightly, all fitted on `train`."""
    scaled = []
    for table, rows in zip(tables, train, strict=True):
        part = table[:, chosen]
        spread = part[rows].std(axis=0)
        scaled.append((part - part[rows].mean(axis=0)) / np.where(spread > 0, spread, 1))
    weights = np.ones(len(chosen))
    if len(chosen) > 1:
        x = np.concatenate([s[rows] for s, rows in zip(scaled, train, strict=True)])
        y = np.concatenate([f.labels[rows] for f, rows in zip(files, train, strict=True)])
        weights = LogisticRegression().fit(x, y).coef_[0]
    found = []
    for values, sets, rows, others in zip(scaled, files, train, test, strict=True):
        score = values @ weights
        cut = best_threshold(score[rows], sets.labels[rows])
        found.append((score[others] > cut) == (sets.labels[others] == 1.0))
    return found


def choose(
    tables: list[np.ndarray], files: list[Sets], train: list[np.ndarray], folds: list[np.ndarray],
    most: int,
) -> tuple[int, ...]:  # fmt: skip
    """The metrics of the best accuracy by cross-validation within `train`."""
    every = range(tables[0].shape[1])
    some = [c for size in range(1, most + 1) for c in combinations(every, size)]

    def accuracy(chosen: tuple[int, ...]) -> float:
        parts: list[list[float]] = [[] for _ in files]
        for number in range(FOLDS):
            left = [rows & (fold != number) for rows, fold in zip(train, folds, strict=True)]
            out = [rows & (fold == number) for rows, fold in zip(train, folds, strict=True)]
            if not all(rows.any() for rows in out):
                continue  # the outer fold
            for part, told in zip(parts, right(tables, files, left, out, chosen), strict=True):
                part += told.tolist()
        return float(np.mean([np.mean(part) for part in parts]))

    return max(some, key=accuracy)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--language-model")
    parser.add_argument("--cache", type=Path)
    own = parser.parse_args()
    # All files, as in validity.py, so that their vectors are the same ones.
    every = [read_sets(path, None) for path in sorted(own.data.glob("*.csv"))]
    names, tables = candidates(every, own.language_model, own.cache)
    tables = [t for t, sets in zip(tables, every, strict=True) if sets.two_labels]
    files = [sets for sets in every if sets.two_labels]
    folds = []
    for sets in files:
        place = {id: number % FOLDS for number, id in enumerate(sorted(set(sets.ids)))}
        folds.append(np.array([place[id] for id in sets.ids]))
    told: dict[int, list[list[bool]]] = {1: [[] for _ in files], MOST: [[] for _ in files]}
    picks: dict[int, list[Any]] = {1: [], MOST: []}
    for number in range(FOLDS):
        train, test = [fold != number for fold in folds], [fold == number for fold in folds]
        for most in (1, MOST):
            chosen = choose(tables, files, train, folds, most)
            picks[most].append([names[i] for i in chosen])
            for part, some in zip(
                told[most], right(tables, files, train, test, chosen), strict=True
            ):
                part += some.tolist()
        print(number, picks[1][-1], picks[MOST][-1], flush=True)
    gaps = [np.array(b, float) - a for a, b in zip(told[1], told[MOST], strict=True)]
    error = np.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps)) / len(gaps)
    print(
        json.dumps(
            {
                "benchmark": "panel",
                "candidates": names,
                "single": round(float(np.mean([np.mean(part) for part in told[1]])), 4),
                "panel": round(float(np.mean([np.mean(part) for part in told[MOST]])), 4),
                "difference": round(float(np.mean([gap.mean() for gap in gaps])), 4),
                "paired_se": round(float(error), 4),
                "single_picks": picks[1],
                "panel_picks": picks[MOST],
            }
        )
    )


if __name__ == "__main__":
    main()
