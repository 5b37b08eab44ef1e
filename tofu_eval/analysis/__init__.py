"""Uncertainty: intervals over prompts, paired differences, seeds, power, many comparisons at once.

Prompts are what is resampled, never responses: the prompts are the sample of the world, and all
models answer the same ones. docs/statistics.md says what the intervals hold and what they do not.
"""

from tofu_eval.analysis.clusters import spread_clusters, sum_clusters
from tofu_eval.analysis.intervals import (
    BLOCKS,
    Interval,
    Intervals,
    mean_interval,
    mean_intervals,
    method_of,
    pseudo_values,
    within,
)
from tofu_eval.analysis.paired import Difference, Pair, paired_difference, paired_differences
from tofu_eval.analysis.power import MOST, Noise, detectable, fewest, power, prompts_needed
from tofu_eval.analysis.ranks import Rank, rank_models, significantly_better
from tofu_eval.analysis.seeds import (
    Components,
    Crossed,
    crossed_difference,
    crossed_mean,
    crossed_power,
)
from tofu_eval.analysis.sign_flips import Column, Family, Test, least_p_value, sign_flip_tests

__all__ = [
    "BLOCKS",
    "MOST",
    "Column",
    "Components",
    "Crossed",
    "Difference",
    "Family",
    "Interval",
    "Intervals",
    "Noise",
    "Pair",
    "Rank",
    "Test",
    "crossed_difference",
    "crossed_mean",
    "crossed_power",
    "detectable",
    "fewest",
    "least_p_value",
    "mean_interval",
    "mean_intervals",
    "method_of",
    "paired_difference",
    "paired_differences",
    "power",
    "prompts_needed",
    "pseudo_values",
    "rank_models",
    "sign_flip_tests",
    "significantly_better",
    "spread_clusters",
    "sum_clusters",
    "within",
]
