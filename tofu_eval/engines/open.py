"""Engines by name: the registry, the built-in ones, and one engine for each model of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.models import parse_model
from tofu_eval.core.registry import Registry, origin_of
from tofu_eval.core.types import ModelSpec, Report
from tofu_eval.engines.base import Engine

Factory = Callable[..., Engine]

ENGINES: Registry[Factory] = Registry(
    "engine",
    "tofu_eval.engines",
    group="tofu_eval.engines",
    listing="tofu-eval engines list",
    scan=lambda: None,  # the built-ins register below, so that no framework is imported
)


def apart(chosen: Settings) -> bool:
    """Whether each model gets a process of its own: by default where there is an accelerator."""
    if chosen.isolate is not None or find_spec("torch") is None:
        return bool(chosen.isolate)
    if chosen.device is not None:
        return not chosen.device.startswith("cpu")
    import torch

    return bool(torch.accelerator.is_available())


def engine_of(
    name: str, model: str | Path | ModelSpec | Engine, chosen: Settings, report: Report
) -> Engine:
    """The engine of a model; an engine object is its own."""
    if not isinstance(model, str | Path | ModelSpec):
        return model
    return open_engine(
        chosen.engine or default_engine(),
        model if isinstance(model, ModelSpec) else replace(parse_model(str(model)), name=name),
        batch_size=chosen.batch_size,
        device=chosen.device,
        dtype=chosen.dtype,
        trust_remote_code=chosen.trust_remote_code,
        engine_args=chosen.engine_args,
        base_url=chosen.base_url.get(name)
        if isinstance(chosen.base_url, dict)
        else chosen.base_url,
        isolate=apart(chosen),
        report=report,
    )


def engine(name: str) -> Callable[[Factory], Factory]:
    """Register a function `(spec, **options) -> Engine` and return it unchanged."""

    def register(factory: Factory) -> Factory:
        ENGINES.add(name, factory, origin_of(factory))
        return factory

    return register


def default_engine() -> str:
    """`vllm` where there are CUDA and vLLM, else `transformers`, which works everywhere."""
    if find_spec("vllm") is None or find_spec("torch") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"


def together(engines: Mapping[str, Engine]) -> list[list[str]]:
    """The names, in lists of models that one loading can serve: adapters on one base."""
    groups: dict[object, list[str]] = {}
    for name, opened in engines.items():
        groups.setdefault(getattr(opened, "shares", None) or ("alone", name), []).append(name)
    return list(groups.values())


def joined(engines: Sequence[Engine]) -> Engine:
    """One engine that answers for all of these, which `together` put into one list."""
    first: Any = engines[0]
    served: Engine = first.join(engines[1:]) if len(engines) > 1 else first
    return served


def open_engine(name: str, spec: ModelSpec, **options: Any) -> Engine:
    """Load a model into the engine of that name.

    Raises:
        UnknownNameError: no engine has that name.
        MissingDependencyError: its packages are not installed.
        ModelError: the model cannot be found or loaded.
    """
    return ENGINES.get(name)(spec, **options)


@engine("transformers")
def _transformers(spec: ModelSpec, **options: Any) -> Engine:
    try:
        from tofu_eval.engines.transformers import TransformersEngine
    except ModuleNotFoundError as error:
        package = (error.name or "transformers").partition(".")[0]
        raise MissingDependencyError.of("The transformers engine", package, "hf") from error
    if extra := options.pop("engine_args", None):
        raise ConfigError(
            f"The transformers engine has no argument '{next(iter(extra))}'. Leave out "
            "--engine-arg, or use another --engine."
        )
    options.pop("base_url", None)
    if options.pop("isolate", False):
        from tofu_eval.engines.isolated import IsolatedEngine

        return IsolatedEngine(spec, **options)
    return TransformersEngine(spec, **options)


@engine("vllm")
def _vllm(spec: ModelSpec, **options: Any) -> Engine:
    try:
        from tofu_eval.engines.vllm import VllmEngine

        return VllmEngine(spec, **options)
    except ModuleNotFoundError as error:
        package = (error.name or "vllm").partition(".")[0]
        raise MissingDependencyError.of("The vLLM engine", package, "vllm") from error


@engine("openai")
def _openai(spec: ModelSpec, **options: Any) -> Engine:
    try:
        from tofu_eval.engines.openai import OpenAIEngine
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("The openai engine", "openai", "openai") from error
    return OpenAIEngine(spec, **options)


@engine("ray")
def _ray(spec: ModelSpec, **options: Any) -> Engine:
    """An engine in each actor: `engine_args` names it (`engine: vllm`), else the default one."""
    try:
        from tofu_eval.engines.ray import RayEngine
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("The ray engine", error.name or "ray", "ray") from error
    arguments = dict(options.pop("engine_args", None) or {})
    inner = ENGINES.get(arguments.pop("engine", None) or default_engine())
    for name in ("base_url", "isolate"):  # an actor is a process of its own
        options.pop(name, None)
    return RayEngine(spec, inner, engine_args=arguments, **options)
