"""Engines by name: the registry, and one engine for each model of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import parse_model
from tofu_eval.core.registry import Registry, origin_of
from tofu_eval.core.types import ModelSpec, Report
from tofu_eval.engines.base import Engine

Factory = Callable[..., Engine]

SERVED = frozenset({"openai"})
"""Engines that hold no weights: whether there is an accelerator is not looked for, which takes
seconds."""

ENGINES: Registry[Factory] = Registry(
    "engine",
    "tofu_eval.engines.builtin",
    group="tofu_eval.engines",
    listing="tofu-eval engines list",
)


def is_isolated(chosen: Settings) -> bool:
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
    name_of_engine = chosen.engine or default_engine()
    return open_engine(
        name_of_engine,
        model if isinstance(model, ModelSpec) else replace(parse_model(str(model)), name=name),
        batch_size=chosen.batch_size,
        device=chosen.device,
        dtype=chosen.dtype,
        trust_remote_code=chosen.trust_remote_code,
        engine_args=chosen.engine_args,
        base_url=chosen.base_url.get(name)
        if isinstance(chosen.base_url, dict)
        else chosen.base_url,
        isolate=name_of_engine not in SERVED and is_isolated(chosen),
        report=report,
        **_set_options(chosen),
    )


def _set_options(chosen: Settings) -> dict[str, Any]:
    """What the user has set of what not every engine knows."""
    options: dict[str, Any] = {
        "chat_template_kwargs": chosen.chat_template_kwargs,
        "reasoning_effort": chosen.reasoning_effort,
        "extra_body": chosen.extra_body,
        "quantize": chosen.quantize,
        "seeds": None if chosen.seeds == "row" else chosen.seeds,
    }
    return {name: value for name, value in options.items() if value}


def take_local_options(options: dict[str, Any], engine: str, *, seeds: bool) -> dict[str, Any]:
    """The options for an engine that renders chat templates itself.

    Args:
        options: what `engine_of` gives.
        engine: its name.
        seeds: whether it can do without the seeds of single rows.

    Raises:
        ConfigError: one that means nothing there.
    """
    if options.pop("extra_body", None):
        raise ConfigError(f"--extra-body is for servers (--engine openai), not for {engine}.")
    if not seeds and options.pop("seeds", None):
        raise ConfigError(
            f"--seeds run is for vllm and openai: with {engine} the seed of a row costs nothing."
        )
    if (effort := options.pop("reasoning_effort", None)) is not None:
        given = options.get("chat_template_kwargs") or {}
        options["chat_template_kwargs"] = {"reasoning_effort": effort, **given}
    return options


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


def group_shared(engines: Mapping[str, Engine]) -> list[list[str]]:
    """The names, in lists of models that one loading can serve: adapters on one base."""
    groups: dict[object, list[str]] = {}
    for name, opened in engines.items():
        groups.setdefault(getattr(opened, "shares", None) or ("alone", name), []).append(name)
    return list(groups.values())


def join_engines(engines: Sequence[Engine]) -> Engine:
    """One engine that answers for all of these, which `group_shared` put into one list."""
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
