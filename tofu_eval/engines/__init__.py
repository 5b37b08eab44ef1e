"""Engines: what turns requests into responses. Importing this package imports no framework.

A new engine is one function that opens it; the framework is imported inside:

    @engine("mine")
    def open_mine(spec: ModelSpec, **options: Any) -> Engine: ...
"""

from __future__ import annotations

from tofu_eval.engines.base import Engine
from tofu_eval.engines.open import (
    ENGINES,
    default_engine,
    engine,
    group_shared,
    join_engines,
    open_engine,
)

__all__ = [
    "ENGINES",
    "Engine",
    "default_engine",
    "engine",
    "group_shared",
    "join_engines",
    "open_engine",
]
