"""--engine ray: blocks of prompts over actors that each hold another engine."""

from __future__ import annotations

from typing import Any

from tofu_eval.core.errors import MissingDependencyError
from tofu_eval.core.types import ModelSpec
from tofu_eval.engines.base import Engine
from tofu_eval.engines.open import ENGINES, default_engine, engine


@engine("ray")
def open_ray(spec: ModelSpec, **options: Any) -> Engine:
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
