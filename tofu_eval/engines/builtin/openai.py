"""--engine openai: any OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.types import ModelSpec
from tofu_eval.engines.base import Engine
from tofu_eval.engines.open import engine


@engine("openai")
def open_openai(spec: ModelSpec, **options: Any) -> Engine:
    """A model behind a server."""
    try:
        from tofu_eval.engines.openai import OpenAIEngine
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("The openai engine", "openai", "openai") from error
    if options.pop("quantize", None):
        raise ConfigError("--quantize means nothing to a server: it holds the weights as it does.")
    return OpenAIEngine(spec, **options)
