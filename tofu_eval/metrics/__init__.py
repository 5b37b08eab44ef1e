"""Diversity and quality metrics: one file each, one pure function of arrays."""

from tofu_eval.metrics.base import METRICS, Metric, metric

__all__ = ["METRICS", "Metric", "metric"]
