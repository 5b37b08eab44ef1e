"""Whether a difference is more than one of lengths: what a line through the prompts says.

A metric that length moves differs between two models whose responses are of other lengths, though
they say the same. Lengths differ by more on some prompts than on others; how the difference of the
metric goes with that tells what it would be where lengths are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from tofu_eval.analysis.clusters import spread_clusters
from tofu_eval.analysis.intervals import Floats, mean_interval

LENGTH_RATIO = 1.25
"""Mean lengths that are further apart than this void what length moves: beyond it, a line through
the prompts would be drawn too far."""

_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean characters of a response, of all and by prompt; of nothing, `mean` is 0."""

    mean: float = 0.0
    prompts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_sums(cls, sums: Mapping[str, tuple[int, int]]) -> Lengths:
        """From the characters of each prompt's responses together, and how many these are."""
        known = {prompt: (total, count) for prompt, (total, count) in sums.items() if count}
        totals, counts = (sum(one[i] for one in known.values()) for i in (0, 1))
        return cls(totals / max(1, counts), {p: total / n for p, (total, n) in known.items()})

    @classmethod
    def over_seeds(cls, members: Sequence[Lengths]) -> Lengths:
        """The mean over the models of a series, on the prompts that all of them have."""
        if not members:
            return cls()
        shared = set.intersection(*(set(own.prompts) for own in members))
        return cls(
            fmean(own.mean for own in members),
            {prompt: fmean(own.prompts[prompt] for own in members) for prompt in sorted(shared)},
        )


def stands_at_equal_lengths(
    away: Mapping[Any, float],
    ours: Mapping[Any, float],
    theirs: Mapping[Any, float],
    *,
    clusters: Mapping[Any, str] | None = None,
    level: float = 0.05,
) -> bool:
    """Whether a difference is there too, on the same side, where responses are equally long.

    Formula: d_i = a + b x_i + e_i over prompts, x_i the logarithm of the ratio of the two mean
        lengths at prompt i; a is the difference at equal lengths. It stands where the interval of a
        lies on the side of mean d: the bootstrap-t interval of one value a prompt, whose mean is a
        and whose standard error is HC3; over clusters where they are known.
    Args:
        away: the differences by prompt.
        ours: mean length of a response by prompt, of the model; theirs: of the baseline.
        clusters: the cluster of each prompt, where they have any.
        level: 1 less that of the interval.
    Returns: False where lengths differ by the same ratio on all prompts, so that nothing tells the
        two apart.
    Source: MacKinnon and White, Journal of Econometrics 29, 1985.
    """
    ids = [id for id in away if ours.get(id, 0) > 0 and theirs.get(id, 0) > 0]
    ratios = np.array([np.log(ours[id] / theirs[id]) for id in ids])
    if not np.any(np.abs(ratios) > _EQUAL):
        return True
    if len(ids) < 3 or np.ptp(ratios) <= _EQUAL:
        return False
    values = np.array([away[id] for id in ids])
    each = dict(zip(ids, _at_equal_lengths(values, ratios).tolist(), strict=True))
    if clusters is not None:
        each = spread_clusters(each, clusters)
    found = mean_interval(list(each.values()), level=1 - level)
    if found.low is None or found.high is None:
        return False
    return found.high < 0 if values.mean() < 0 else found.low > 0


def _at_equal_lengths(values: Floats, ratios: Floats) -> Floats:
    """One value a prompt; their mean is the line's at ratio 1, their spread that of its error."""
    design = np.column_stack([np.ones(len(ratios)), ratios])
    inverse = np.linalg.inv(design.T @ design)
    line = inverse @ design.T @ values
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    left = (values - design @ line) / np.maximum(1 - leverage, _EQUAL)
    pull = len(values) * (design @ inverse[0]) * left
    found: Floats = line[0] + pull - pull.mean()
    return found
