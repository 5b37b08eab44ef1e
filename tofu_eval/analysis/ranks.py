"""Who is significantly better than whom, and the ranks that follow.

Every pair of a block of models is compared by the test of `compare`, and the p-values of all pairs
are adjusted together (max-T). A model's rank is 1 + the number of models that are significantly
better, directly or through a chain, so that no model stands before one that significantly beats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.clusters import sum_clusters
from tofu_eval.analysis.paired import subtract_common
from tofu_eval.analysis.sign_flips import Column, sign_flip_tests

ALPHA = 0.05
"""The chance that any model of a block is called better than one that it does not differ from."""

ByPrompt = Mapping[Any, float | None]


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of one model in its block.

    `rank` is 1 + the number of models that are significantly better, directly or through a chain;
    `best` and `worst` are the ranks that the evidence leaves open: with 95% confidence for all
    models of the block together the true rank lies between them. `better_than` and `worse_than`
    count the models that it differs from significantly, directly or through a chain.
    """

    rank: int
    best: int
    worst: int
    better_than: int
    worse_than: int


def rank_models(
    values: Mapping[str, ByPrompt],
    *,
    higher: bool,
    task: str = "",
    clusters: Mapping[Any, str] | None = None,
    alpha: float = ALPHA,
) -> dict[str, Rank]:
    """The ranks of the models of a block: one task, one metric, one number of responses.

    Args:
        values: by model, then by prompt; None is undefined. A pair is compared on the prompts that
            both have.
        higher: whether higher values are better.
        task: whose prompts they are, for the signs of the flips.
        clusters: the cluster of each prompt, where they have any.
        alpha: the level of the block.
    Returns: by model; none at all where there are several models and no two of them have two
        prompts in common.
    """
    models = list(values)
    better, tested = significantly_better(
        [values[model] for model in models],
        higher=higher,
        task=task,
        clusters=clusters,
        alpha=alpha,
    )
    if len(models) > 1 and not tested:
        return {}
    above = chain(better)
    return {
        model: Rank(
            rank=1 + int((above[:, i] & ~above[i]).sum()),
            best=1 + int((above[:, i] & ~above[i]).sum()),
            worst=len(models) - int((above[i] & ~above[:, i]).sum()),
            better_than=int((above[i] & ~above[:, i]).sum()),
            worse_than=int((above[:, i] & ~above[i]).sum()),
        )
        for i, model in enumerate(models)
    }


def significantly_better(
    columns: Sequence[ByPrompt],
    *,
    higher: bool,
    task: str = "",
    clusters: Mapping[Any, str] | None = None,
    alpha: float = ALPHA,
) -> tuple[NDArray[np.bool_], bool]:
    """(models, models): whether the one is significantly better than the other.

    Args: as `rank_models`.
    Returns: the matrix; and whether any two had two units in common, so that there was a test.
    """
    better = np.zeros((len(columns), len(columns)), dtype=np.bool_)
    pairs = list(combinations(range(len(columns)), 2))
    if not pairs:
        return better, False
    tested = [_column(columns[i], columns[j], task, clusters) for i, j in pairs]
    family = sign_flip_tests(tested, alpha=alpha)
    for (i, j), column, test in zip(pairs, tested, family.tests, strict=True):
        if test.adjusted is not None and test.adjusted < alpha:
            first = (float(column.values.sum()) > 0) == higher
            better[(i, j) if first else (j, i)] = True
    return better, any(test.p_value is not None for test in family.tests)


def chain(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is better than whom directly or through others (Warshall, Journal of the ACM 9, 1962)."""
    above = better.copy()
    for middle in range(len(above)):
        above |= above[:, middle, None] & above[middle]
    np.fill_diagonal(above, False)
    return above


def _column(a: ByPrompt, b: ByPrompt, task: str, clusters: Mapping[Any, str] | None) -> Column:
    known = subtract_common(a, b)
    units: Mapping[Any, float] = known if clusters is None else sum_clusters(known, clusters)
    return Column(np.array(list(units.values())), [f"{task}\n{unit}" for unit in units])
