"""Intervals of what has one value for a whole corpus: prompts are left out in turn."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = 20
"""Blocks of prompts that are left out, one after the other."""


def pseudo_values(whole: float, without: Sequence[float]) -> list[float]:
    """One number a block whose mean is `whole` and whose spread is the jackknife's.

    Formula: v_g = θ + (G − 1) (mean of θ_(·) − θ_(g)); sd(v) / √G is the grouped jackknife's
        standard error of θ. Blocks of the same prompts pair two models.
    Args:
        whole: the value of all prompts, θ.
        without: the value without block g, θ_(g), G of them.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 11.3 and 11.5.
    """
    from math import fsum

    count = len(without)
    centre = fsum(without) / count
    return [whole + (count - 1) * (centre - value) for value in without]
