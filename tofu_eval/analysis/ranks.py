"""Who is significantly better than whom, and the ranks that follow.

Every pair of a block of models is compared by the test of `compare`, and the p-values of all pairs
are adjusted together (max-T). A model's rank is 1 + the number of models that are significantly
better, directly or through a chain, so that no model stands before one that significantly beats it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.analysis.paired import Pair, clear_signs
from tofu_eval.analysis.sign_flips import least_p_value

ALPHA = 0.05
"""The chance that any model of a block is called better than one that it does not differ from."""

ByPrompt = Mapping[Any, float | None]


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of one model in its block.

    `rank` is 1 + the number of models that are significantly better, directly or through a chain;
    from `rank` to `last` are the ranks that the evidence leaves open: with 95% confidence for all
    models of the block together the true rank lies between them. `better_than` and `worse_than`
    count the models that it differs from significantly itself.
    """

    rank: int
    last: int
    better_than: int
    worse_than: int


def rank_models(
    values: Mapping[str, ByPrompt],
    *,
    higher: bool,
    task: str = "",
    clusters: Mapping[Any, str] | None = None,
    untested: Collection[frozenset[str]] = (),
    alpha: float = ALPHA,
) -> dict[str, Rank]:
    """The ranks of the models of a block: one task, one metric, one number of responses.

    Args:
        values: by model, then by prompt; None is undefined. A pair is compared on the prompts that
            both have.
        higher: whether higher values are better.
        task: whose prompts they are, for the signs of the flips.
        clusters: the cluster of each prompt, where they have any.
        untested: pairs of models that something else than the models would tell apart.
        alpha: the level of the block.
    Returns: by model; of several models those alone that were tested against another: on so many
        common prompts that a result could be clear.
    """
    models = list(values)
    better, tested = significantly_better(
        [values[model] for model in models],
        higher=higher,
        task=task,
        clusters=clusters,
        untested={
            (i, j)
            for i, j in combinations(range(len(models)), 2)
            if frozenset((models[i], models[j])) in untested
        },
        alpha=alpha,
    )
    above = chain(better)
    above &= ~above.T  # where chains close to a circle, nobody stands before the others
    there = [True] if len(models) == 1 else [bool(row.any()) for row in tested]
    count = sum(there)
    return {
        model: Rank(
            rank=1 + int(above[:, i].sum()),
            last=count - int(above[i].sum()),
            better_than=int(better[i].sum()),
            worse_than=int(better[:, i].sum()),
        )
        for i, model in enumerate(models)
        if there[i]
    }


def significantly_better(
    columns: Sequence[ByPrompt],
    *,
    higher: bool,
    task: str = "",
    clusters: Mapping[Any, str] | None = None,
    untested: Collection[tuple[int, int]] = (),
    alpha: float = ALPHA,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(models, models): whether the one is significantly better, and whether there was a test.

    Args: as `rank_models`; `untested` are places of `columns`.
    """
    better, was_tested = np.zeros((2, len(columns), len(columns)), dtype=np.bool_)
    pairs = [
        (i, j)
        for i, j in combinations(range(len(columns)), 2)
        if (i, j) not in untested
        and least_p_value(_shared(columns[i], columns[j], clusters)) < alpha
    ]
    signs = clear_signs(
        [Pair(columns[i], columns[j], task, clusters) for i, j in pairs], alpha=alpha
    )
    for (i, j), sign in zip(pairs, signs, strict=True):
        was_tested[i, j] = was_tested[j, i] = sign is not None
        if sign:
            better[(i, j) if (sign > 0) == higher else (j, i)] = True
    return better, was_tested


def _shared(one: ByPrompt, other: ByPrompt, clusters: Mapping[Any, str] | None) -> int:
    """On how many units two models are tested."""
    both = {id for id, value in one.items() if value is not None and other.get(id) is not None}
    return len(both if clusters is None else {clusters[id] for id in both})


def chain(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is better than whom directly or through others (Warshall, Journal of the ACM 9, 1962)."""
    above = better.copy()
    for middle in range(len(above)):
        above |= above[:, middle, None] & above[middle]
    np.fill_diagonal(above, False)
    return above
