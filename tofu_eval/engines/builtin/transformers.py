"""--engine transformers: works everywhere, a batch at a time."""

from __future__ import annotations

from typing import Any

from tofu_eval.core.errors import ConfigError, MissingDependencyError
from tofu_eval.core.types import ModelSpec
from tofu_eval.engines.base import Engine
from tofu_eval.engines.open import engine, take_local_options


@engine("transformers")
def open_transformers(spec: ModelSpec, **options: Any) -> Engine:
    """A model of the transformers library; in a process of its own where `isolate` says so."""
    try:
        from tofu_eval.engines.isolated import IsolatedEngine
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
    options = take_local_options(options, "transformers", seeds=False)
    if options.pop("isolate", False):
        return IsolatedEngine(spec, **options)
    return TransformersEngine(spec, **options)
