"""Uncertainty: intervals over prompts, paired differences, seeds, power, many comparisons at once.

Prompts are what is resampled, never responses: the prompts are the sample of the world, and all
models answer the same ones. docs/statistics.md says what the intervals hold and what they do not.
"""

from tofu_eval.analysis.intervals import (
    BLOCKS,
    INTERVALS,
    RESAMPLES,
    Interval,
    Intervals,
    mean_interval,
    mean_intervals,
    method_of,
    pseudo_values,
    within,
)
from tofu_eval.analysis.paired import Difference, holm, paired_difference, paired_differences
from tofu_eval.analysis.power import MOST, Noise, detectable, fewest, power, prompts_needed
from tofu_eval.analysis.seeds import (
    Components,
    Crossed,
    crossed_difference,
    crossed_mean,
    crossed_power,
)

__all__ = [
    "BLOCKS",
    "INTERVALS",
    "MOST",
    "RESAMPLES",
    "Components",
    "Crossed",
    "Difference",
    "Interval",
    "Intervals",
    "Noise",
    "crossed_difference",
    "crossed_mean",
    "crossed_power",
    "detectable",
    "fewest",
    "holm",
    "mean_interval",
    "mean_intervals",
    "method_of",
    "paired_difference",
    "paired_differences",
    "power",
    "prompts_needed",
    "pseudo_values",
    "within",
]
