"""Diversity and quality metrics: one file each, one pure function of arrays."""

from tofu_eval.metrics.base import METRICS, Metric, metric
from tofu_eval.metrics.conditional import find

__all__ = ["METRICS", "Metric", "find", "metric"]
