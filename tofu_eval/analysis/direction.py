"""What a metric's direction means: which way is more diverse (of quality: better).

Nothing else in the package turns "higher" and "lower" into a sign, an arrow or a side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import copysign, inf, isfinite
from typing import Any

from tofu_eval.analysis.paired import Difference
from tofu_eval.analysis.pareto import Floats
from tofu_eval.core.errors import ConfigError, UnknownNameError

_SIGNS = {"higher": 1, "lower": -1, "none": 0}
_ARROWS = {1: "↑", -1: "↓", 0: ""}


def sign_of_direction(direction: str) -> int:
    """1 where higher values are more diverse, or better; -1 where lower ones are; 0 for neither."""
    return _SIGNS[direction]


def has_direction(direction: str) -> bool:
    """Whether more or less of it is more diverse, or better."""
    return _SIGNS[direction] != 0


def arrow_of(direction: str) -> str:
    """The way to more diversity: ↑, ↓, or nothing."""
    return _ARROWS[_SIGNS[direction]]


def won_share(direction: str, difference: Difference) -> float | None:
    """The share of prompts on which the model is more diverse, or better; None without a way."""
    return {1: difference.higher, -1: difference.lower}.get(_SIGNS[direction])


@dataclass(frozen=True, slots=True)
class Effect:
    """A standardised difference (d_z) with its 95% interval: above 0 is more diverse, or better.

    All three are infinite where the difference is the same on every prompt, and not 0.
    """

    value: float
    low: float
    high: float


def oriented_effect(direction: str, difference: Difference | None) -> Effect | None:
    """A difference in standard deviations of the differences, so that metrics share one scale.

    The deviation is taken as known: the interval is that of the mean, divided by it. None where
    the metric has no direction, or the difference no interval or no deviation (it is one of the
    whole corpus).
    """
    sign = _SIGNS[direction]
    if difference is None or not sign:
        return None
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None:
        return None
    if value == low == high == 0:
        return Effect(0.0, 0.0, 0.0)
    if difference.sd is None:
        return None
    if difference.effect is None:  # no spread but for rounding
        end = sign * copysign(inf, value)
        return Effect(end, end, end)
    ends = sorted(sign * end / difference.sd for end in (low, high))
    return Effect(sign * value / difference.sd, *ends)


def sign_of(manifest: Mapping[str, Any], metric: str) -> int:
    """1 where higher values of a metric of a run are better, -1 where lower ones are.

    Raises:
        UnknownNameError: the run was not scored with it.
        ConfigError: it has no direction.
    """
    known = manifest.get("metrics", {})
    if metric not in known:
        raise UnknownNameError.of("metric", metric, known, "tofu-eval compare RUN")
    sign = sign_of_direction(known[metric]["direction"])
    if not sign:
        raise ConfigError(
            f"'{metric}' has no direction: neither more nor less of it is better. "
            "Take another metric: tofu-eval metrics list"
        )
    return sign


def worst_of(manifest: Mapping[str, Any], metric: str, sign: int, values: Floats) -> float:
    """The worst value that a metric can have, oriented; else the worst of those given."""
    least, greatest = manifest["metrics"][metric]["range"]
    try:
        bound = sign * float(least if sign > 0 else greatest)
    except ValueError:  # "n", the number of responses
        bound = -inf
    return bound if isfinite(bound) else float(values.min())
