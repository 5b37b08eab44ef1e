"""Do the classes of responses depend on their order, by how much, and does it matter?

    python benchmarks/linkage.py --data DIR --cache FOLDER

On the sets that benchmarks/validity.py reads, each linkage of each method sees the responses to a
prompt in their own order and in ORDERS random ones. Printed are the share of sets where some order
gives other classes, or another number of them; how far the number moves (standard deviation over
orders, mean over sets); and, on the sets with two labels, the accuracy at telling diverse sets from
others, in the files' order and the range over the others. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from people import best_accuracy, read_sets
from validity import encode, open_encoders, texts_of, with_vectors

ORDERS = 5
CASES = {
    "embedding": ("greedy", "complete", "connected"),
    "embedding-plain": ("greedy", "complete", "connected"),
    "word-overlap": ("greedy", "connected"),
}


def permuted(group: Any, order: np.ndarray) -> Any:
    return replace(
        group,
        texts=tuple(group.texts[i] for i in order),
        features={**group.features, "embedding": group.features["embedding"][order]},
    )


def partition(labels: Any, order: np.ndarray) -> frozenset[frozenset[int]]:
    members: dict[int, set[int]] = {}
    for place, label in zip(order, labels, strict=True):
        members.setdefault(int(label), set()).add(int(place))
    return frozenset(map(frozenset, members.values()))


def measure(method: str, linkage: str, files: list[Any], groups: list[list[Any]]) -> dict[str, Any]:
    """One row; `groups` have vectors."""
    from tofu_eval.features.equivalence import Equivalence
    from tofu_eval.run.feature_cache import FeatureCache

    decide = Equivalence(method, linkage=linkage)  # type: ignore[arg-type]
    every = [group for some in groups for group in some]
    random = np.random.default_rng(0)
    counts, partitions = [], []
    for number in range(ORDERS + 1):
        orders = [
            random.permutation(len(g.texts)) if number else np.arange(len(g.texts)) for g in every
        ]
        made = decide.compute(list(map(permuted, every, orders)), FeatureCache())
        labels = [row["equivalence"] for row in made]
        partitions.append(list(map(partition, labels, orders)))
        counts.append([len(set(one)) for one in labels])
    table = np.array(counts, dtype=float)
    ends = np.cumsum([0, *map(len, groups)])
    accuracies = [
        np.mean(
            [
                best_accuracy(row[start:end], sets.labels)
                for sets, start, end in zip(files, ends, ends[1:], strict=False)
                if sets.two_labels
            ]
        )
        for row in table
    ]
    each = zip(*partitions, strict=True)
    return {
        "sets": len(every),
        "other_classes": round(float(np.mean([len(set(p)) > 1 for p in each])), 4),
        "other_number": round(float((np.ptp(table, axis=0) > 0).mean()), 4),
        "deviation": round(float(table.std(axis=0).mean()), 4),
        "oca": round(float(accuracies[0]), 4),
        "oca_range": [round(float(f(accuracies[1:])), 4) for f in (min, max)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the CSV files")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the vectors")
    parser.add_argument("--sets", type=int, help="of each file, the first; by default all")
    chosen = parser.parse_args()
    files = [read_sets(path, chosen.sets) for path in sorted(chosen.data.glob("*.csv"))]
    texts = texts_of(files)
    (encoder,) = open_encoders(["sentence-transformers"], None, None).values()
    groups = with_vectors(files, texts, encode(texts, encoder, chosen.cache).rows)
    found = {}
    for method, linkages in CASES.items():
        for linkage in linkages:
            row = found[f"{method}, {linkage}"] = measure(method, linkage, files, groups)
            print(f"{method:16} {linkage:10} {row}", flush=True)
    print(json.dumps({"benchmark": "linkage", "orders": ORDERS, "rows": found}))


if __name__ == "__main__":
    main()
