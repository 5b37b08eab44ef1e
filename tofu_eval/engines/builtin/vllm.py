"""--engine vllm: all prompts of all tasks at once, adapters side by side."""

from __future__ import annotations

from typing import Any

from tofu_eval.core.errors import MissingDependencyError
from tofu_eval.core.types import ModelSpec
from tofu_eval.engines.base import Engine
from tofu_eval.engines.open import engine, take_local_options


@engine("vllm")
def open_vllm(spec: ModelSpec, **options: Any) -> Engine:
    """A model in vLLM, which lives in a process of its own."""
    options = take_local_options(options, "vllm", seeds=True)
    try:
        from tofu_eval.engines.vllm import VllmEngine

        return VllmEngine(spec, **options)
    except ModuleNotFoundError as error:
        package = (error.name or "vllm").partition(".")[0]
        raise MissingDependencyError.of("The vLLM engine", package, "vllm") from error
