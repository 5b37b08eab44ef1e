"""What a metric is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tofu_eval.errors import ConfigError
from tofu_eval.registry import Registry, origin_of

Function = TypeVar("Function", bound=Callable[..., float])

INPUTS = ("text", "tokens", "prompt", "embedding", "reward")
"""What a metric may need, in the words of `needs`; see `features/`."""

METRICS: Registry[Metric] = Registry(
    "metric",
    "tofu_eval.metrics",
    group="tofu_eval.metrics",
    listing="tofu-eval metrics list",
)


@dataclass(frozen=True)
class Metric:
    """A pure function of arrays and what there is to know about it.

    `direction` says which way is more diverse (for `measures="quality"`, which way is better);
    "none" is a plain description. `needs` names the arguments, in order; `settings` are bound
    keyword arguments and part of the signature.
    """

    name: str
    function: Callable[..., float]
    level: Literal["group"]
    direction: Literal["higher", "lower", "none"]
    range: tuple[str, str]
    cost: Literal["cpu", "model"]
    needs: tuple[str, ...]
    paper: str
    measures: Literal["diversity", "quality", "length"] = "diversity"
    version: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *arrays: Any) -> float:
        """The metric's value on one group; raises MetricInputError where it is undefined."""
        return self.function(*arrays, **self.settings)

    def facts(self) -> dict[str, Any]:
        """What a run and a leaderboard say about it, whether or not it is still installed."""
        return {
            "version": self.version,
            "direction": self.direction,
            "measures": self.measures,
            "range": list(self.range),
            "paper": self.paper,
        }

    def signature(self, features: Mapping[str, str]) -> str:
        """What to cite with a value: `vendi|v:1|q:1.0|embedding:<model and revision>`."""
        bound = {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        } | dict(self.settings)
        parts = [self.name, f"v:{self.version}", *(f"{k}:{v}" for k, v in bound.items())]
        parts += [f"{need}:{features[need]}" for need in self.needs if need in features]
        return "|".join(parts)


def metric(
    *,
    name: str,
    level: Literal["group"],
    direction: Literal["higher", "lower", "none"],
    range: tuple[str, str],
    cost: Literal["cpu", "model"],
    needs: tuple[str, ...],
    paper: str,
    measures: Literal["diversity", "quality", "length"] = "diversity",
    version: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as a metric and return it unchanged.

    One function may be registered several times with different `settings`.

    Raises:
        ConfigError: at registration, when `needs` or `settings` do not fit the function.
    """

    def register(function: Function) -> Function:
        made = Metric(
            name, function, level, direction, range, cost, needs, paper, measures, version,
            dict(settings or {}),
        )  # fmt: skip
        _check(made)
        METRICS.add(name, made, origin_of(function))
        return function

    return register


def _check(made: Metric) -> None:
    unknown = [need for need in made.needs if need not in INPUTS]
    if unknown:
        raise ConfigError(
            f"Metric '{made.name}' needs {unknown[0]!r}; it can be given {', '.join(INPUTS)}."
        )
    parameters = inspect.signature(made.function).parameters
    required = [p.name for p in parameters.values() if p.default is inspect.Parameter.empty]
    free = [name for name in required if name not in made.settings]
    if len(free) != len(made.needs) or not set(made.settings) <= set(parameters):
        raise ConfigError(
            f"Metric '{made.name}' takes {list(parameters)}, which does not fit "
            f"needs={made.needs} and settings={dict(made.settings)}."
        )
