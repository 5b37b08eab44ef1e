"""How pairs of equivalent texts become classes, whatever the order of the texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""What a degree may lie below the threshold for rounding alone."""


def number_classes(
    alike: NDArray[np.float64], n: int, least: float, *, complete: bool
) -> list[int]:
    """A class a text, numbered from 0 in order of first use.

    Args:
        alike: (m, m) symmetric degrees of how alike two texts are.
        n: how many of them are responses; the others, references, join the classes of these.
        least: from which degree on two are equivalent.
        complete: whether every two members of a class are equivalent; else a chain is enough.
    """
    labels = _group_alike(alike[:n, :n], least, complete=complete)
    for text in range(n, len(alike)):
        fits = {}
        for label in dict.fromkeys(labels):
            degrees = [alike[text, i] for i, other in enumerate(labels) if other == label]
            if (min(degrees) if complete else max(degrees)) >= least:
                fits[label] = max(degrees)
        best = max(fits, key=lambda label: fits[label], default=None)
        labels.append(max(labels, default=-1) + 1 if best is None else best)
    return labels


def _group_alike(alike: NDArray[np.float64], least: float, *, complete: bool) -> list[int]:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(alike) < 2:
        return [0] * len(alike)
    distances = np.clip(1.0 - alike[np.triu_indices(len(alike), 1)], 0.0, None)
    tree = linkage(distances, "complete" if complete else "single")
    numbers: list[int] = fcluster(tree, 1.0 - least + ROUNDING, "distance").tolist()
    order = {label: place for place, label in enumerate(dict.fromkeys(numbers))}
    return [order[number] for number in numbers]
