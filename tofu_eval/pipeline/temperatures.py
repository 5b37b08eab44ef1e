"""One model under several names, loaded once: at several temperatures, by several methods.

Each model by each method at each temperature is a model of the run (`sft-again-T0.7`), so that all
that reads a run reads a sweep: resume, verify, compare, the frontier. run.json says which series it
belongs to, its temperature, and by which method it was asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.names import check_name
from tofu_eval.core.types import Request, Response
from tofu_eval.engines.base import Engine
from tofu_eval.engines.methods.base import PLAIN
from tofu_eval.engines.prompts import Encoder
from tofu_eval.pipeline.plan import Plan


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as the run knows it: by a method, at a temperature of its own or at the tasks'."""

    name: str
    model: str
    temperature: float | None = None
    method: str = PLAIN

    @property
    def series(self) -> str:
        """The model by this method, at any temperature."""
        return name_by(self.model, self.method)

    def plan(self, plan: Plan) -> Plan:
        """The task as it is asked at this temperature.

        Raises:
            ConfigError: several greedy samples.
        """
        if self.temperature is None:
            return plan
        return replace(plan, sampling=replace(plan.sampling, temperature=self.temperature))


def variants_of(
    models: Iterable[str],
    temperatures: Sequence[float] | None,
    methods: Sequence[str] = (PLAIN,),
) -> tuple[Variant, ...]:
    """The models of a run; each by each method, at each temperature where there is a sweep.

    Args:
        models: names.
        temperatures: of the sweep; None is no sweep.
        methods: names, each once.
    Raises:
        ConfigError: no temperature, one that stands twice, a name that grows too long, or two
            models that would be called alike.
    """
    if temperatures is not None and not temperatures:
        raise ConfigError("temperature is an empty list. Give at least one, such as 0.7,1.0,1.3.")
    for one in temperatures or ():
        if list(temperatures or ()).count(one) > 1:
            raise ConfigError(f"temperature {one:g} stands twice in the sweep. Drop one.")
    asked: Sequence[float | None] = [None] if temperatures is None else temperatures
    variants: dict[str, Variant] = {}
    for model in models:
        for method in methods:
            for temperature in asked:
                name = name_by(model, method)
                if temperature is not None:
                    name, temperature = name_at(name, temperature), float(temperature)
                if method != PLAIN or temperature is not None:
                    check_name("model", name)
                if name in variants:
                    raise ConfigError(
                        f"Two models of the run would be called '{name}': '{variants[name].model}' "
                        f"and '{model}' by the method {method}. Rename one of the models."
                    )
                variants[name] = Variant(name, model, temperature, method)
    return tuple(variants.values())


def name_at(model: str, temperature: float) -> str:
    """What a model is called at a temperature: `sft-T0.7`, `sft-T1`."""
    return f"{model}-T{float(temperature)!r}".removesuffix(".0")


def name_by(model: str, method: str) -> str:
    """What a model is called that is asked by a method: `sft-again`; plainly, as it is called."""
    return model if method == PLAIN else f"{model}-{method}"


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
