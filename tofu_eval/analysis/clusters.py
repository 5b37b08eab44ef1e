"""Clusters of prompts: prompts of one category tell less than as many independent ones.

Where prompts belong to clusters, the clusters are the sample of the world. Everything that is done
with the values of prompts is then done with one value a cluster, whose mean is that over prompts
and whose spread is what other clusters would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import TypeVar

from tofu_eval.core.errors import DataError

Id = TypeVar("Id")


def sum_clusters(values: Mapping[Id, float], clusters: Mapping[Id, str]) -> dict[str, float]:
    """The values of each cluster summed, scaled so that their mean is the mean over prompts.

    Formula: G / n times the sum over a cluster's prompts, G clusters, n prompts. The test flips
    these: under its hypothesis nothing is estimated.

    Args:
        values: by prompt; all of them have a cluster.
        clusters: the cluster of each prompt.
    """
    members = _members_of(values, clusters)
    scale = len(members) / len(values) if values else 0.0
    return {name: scale * fsum(own) for name, own in members.items()}


def spread_clusters(values: Mapping[Id, float], clusters: Mapping[Id, str]) -> dict[str, float]:
    """One value a cluster, for an interval: their mean is the mean over prompts.

    Formula: m + G / n times the sum over a cluster of (x - m), m the mean over prompts. Their
    spread gives the cluster-robust standard error of a mean, whether or not clusters are of one
    size (Liang and Zeger, Biometrika 73, 1986; for evaluations Miller, arXiv:2411.00640).
    """
    members = _members_of(values, clusters)
    if not members:
        return {}
    mean = fsum(values.values()) / len(values)
    scale = len(members) / len(values)
    return {name: mean + scale * fsum(v - mean for v in own) for name, own in members.items()}


def _members_of(values: Mapping[Id, float], clusters: Mapping[Id, str]) -> dict[str, list[float]]:
    members: dict[str, list[float]] = {}
    for id, value in values.items():
        if id not in clusters:
            raise DataError(
                f"There are scores of a prompt '{id}' that the task has not. Look what is wrong: "
                "tofu-eval runs verify RUN"
            )
        members.setdefault(clusters[id], []).append(value)
    return dict(sorted(members.items()))
