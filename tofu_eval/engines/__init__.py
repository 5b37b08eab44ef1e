"""Engines: what turns requests into responses. Importing this package imports no framework.

A new engine is one function that opens it; the framework is imported inside:

    @engine("mine")
    def open_mine(spec: ModelSpec, **options: Any) -> Engine: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tofu_eval.engines.base import Engine
from tofu_eval.errors import MissingDependencyError
from tofu_eval.registry import Registry, origin_of
from tofu_eval.types import ModelSpec

__all__ = ["ENGINES", "Engine", "engine", "open_engine"]

Factory = Callable[..., Engine]

ENGINES: Registry[Factory] = Registry(
    "engine",
    "tofu_eval.engines",
    group="tofu_eval.engines",
    listing="tofu-eval engines list",
    scan=lambda: None,  # the built-ins register below, so that no framework is imported
)


def engine(name: str) -> Callable[[Factory], Factory]:
    """Register a function `(spec, **options) -> Engine` and return it unchanged."""

    def register(factory: Factory) -> Factory:
        ENGINES.add(name, factory, origin_of(factory))
        return factory

    return register


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
    return TransformersEngine(spec, **options)
