"""Which way a metric points, and the worst that it can be, as run.json says."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

from tofu_eval.analysis.pareto import Floats
from tofu_eval.core.errors import ConfigError, UnknownNameError


def sign_of(manifest: Mapping[str, Any], metric: str) -> int:
    """1 where higher values are better, -1 where lower ones are."""
    known = manifest.get("metrics", {})
    if metric not in known:
        raise UnknownNameError.of("metric", metric, known, "tofu-eval compare RUN")
    direction = known[metric]["direction"]
    if direction == "none":
        raise ConfigError(
            f"'{metric}' has no direction: neither more nor less of it is better. "
            "Take another metric: tofu-eval metrics list"
        )
    return 1 if direction == "higher" else -1


def worst_of(manifest: Mapping[str, Any], metric: str, sign: int, found: Floats) -> float:
    """The worst value that a metric can have, oriented; else the worst of those found."""
    least, greatest = manifest["metrics"][metric]["range"]
    try:
        bound = sign * float(least if sign > 0 else greatest)
    except ValueError:  # "n", the number of responses
        bound = -inf
    return bound if isfinite(bound) else float(found.min())
