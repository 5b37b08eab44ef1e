"""A sweep of temperatures: one model under several names, loaded once.

Each model at each temperature is a model of the run (`sft-T0.7`), so that all that reads a run
reads a sweep: resume, verify, compare, the frontier. run.json says which series it belongs to, and
its temperature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Request, Response, check_name
from tofu_eval.engines.base import Engine
from tofu_eval.engines.prompts import Encoder
from tofu_eval.pipeline.plan import Plan


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as the run knows it: at a temperature of its own, or at the tasks'."""

    name: str
    model: str
    temperature: float | None = None

    def plan(self, plan: Plan) -> Plan:
        """The task as it is asked at this temperature.

        Raises:
            ConfigError: several greedy samples.
        """
        if self.temperature is None:
            return plan
        return replace(plan, sampling=replace(plan.sampling, temperature=self.temperature))


def variants_of(models: Iterable[str], temperatures: Sequence[float] | None) -> tuple[Variant, ...]:
    """The models of a run; each at each temperature where there is a sweep.

    Args:
        models: names.
        temperatures: of the sweep; None is no sweep.
    Raises:
        ConfigError: no temperature, one that stands twice, or a name that grows too long.
    """
    if temperatures is None:
        return tuple(Variant(name, name) for name in models)
    if not temperatures:
        raise ConfigError("temperature is an empty list. Give at least one, such as 0.7,1.0,1.3.")
    for temperature in temperatures:
        if temperatures.count(temperature) > 1:
            raise ConfigError(f"temperature {temperature:g} stands twice in the sweep. Drop one.")
    return tuple(
        Variant(check_name("model", name_at(model, temperature)), model, float(temperature))
        for model in models
        for temperature in temperatures
    )


def name_at(model: str, temperature: float) -> str:
    """What a model is called at a temperature: `sft-T0.7`, `sft-T1`."""
    return f"{model}-T{float(temperature)!r}".removesuffix(".0")


class Answering:
    """An engine that answers for all variants of the models that it serves.

    Whoever asks names the variant; the engine is asked for its own model. A row's key tells which
    variant it belongs to.
    """

    def __init__(self, engine: Engine, variants: Sequence[Variant]) -> None:
        self._engine = engine
        self._models = {variant.name: variant.model for variant in variants}
        self.family = engine.family
        self.identity: Mapping[str, Any] = engine.identity

    @property
    def scores(self) -> bool:
        """Whether the engine gives log-probabilities of given texts."""
        return bool(getattr(self._engine, "scores", False))

    def prepare(self) -> None:
        """Begin what takes long."""
        getattr(self._engine, "prepare", lambda: None)()

    @property
    def record(self) -> dict[str, Any]:
        """What was in force; the engine's own, to which the audit adds."""
        record: dict[str, Any] = getattr(self._engine, "record", {})
        return record

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders under the first name of each model, for the audit; all have the prompts."""
        by_model: Mapping[str, Encoder] = getattr(self._engine, "encoders", {})
        first: dict[str, str] = {}
        for name, model in self._models.items():
            first.setdefault(model, name)
        return {first[model]: encoder for model, encoder in by_model.items() if model in first}

    def encoder_of(self, name: str) -> Encoder | None:
        """What tokenizes for a variant; None where the engine does not."""
        known: Mapping[str, Encoder] = getattr(self._engine, "encoders", {})
        return known.get(self._models[name])

    def generate(
        self, requests: Sequence[Request], done: Collection[str] = ()
    ) -> Iterator[list[Response]]:
        """Yield the responses under the names of the requests; see `engines.base.Engine`."""
        if all(name == model for name, model in self._models.items()):
            yield from self._engine.generate(requests, done)
            return
        names = {request.key: request.model for request in requests}
        asked = [replace(request, model=self._models[request.model]) for request in requests]
        for batch in self._engine.generate(asked, done):
            yield [replace(row, model=names[row.key]) for row in batch]

    def close(self) -> None:
        """Give the model's memory back."""
        self._engine.close()
