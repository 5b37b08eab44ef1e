"""vLLM's pooling interface, in a process of its own: embeddings and rewards."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tofu_eval.child import Child
from tofu_eval.errors import MissingDependencyError

CPU_CACHE = 2**30
"""Bytes of cache on a CPU, unless VLLM_CPU_KVCACHE_SPACE (GiB) says otherwise."""


def require_vllm(purpose: str) -> None:
    """Raise MissingDependencyError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError.of(purpose, "vllm", "vllm")


class Pooling:
    """A running vLLM that pools.

    Args:
        path: the model's directory.
        title: what messages call it.
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: vLLM cannot load the model.
    """

    def __init__(self, path: Path, title: str, arguments: Mapping[str, Any]) -> None:
        import torch

        ours: dict[str, Any] = {"dtype": "auto", "disable_log_stats": True}
        environment = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if not torch.cuda.is_available():
            ours |= {
                "dtype": "float32",
                "enable_chunked_prefill": False,
                "kv_cache_memory_bytes": CPU_CACHE,
            }
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        self._child = Child("tofu_eval.features.vllm_worker", title, environment)
        try:
            self._child.send("load", (str(path), {**ours, **arguments}))
            self._child.receive()
        except BaseException:
            self._child.close()
            raise

    def rows(
        self, task: Literal["embed", "classify"], ids: Sequence[Sequence[int]]
    ) -> NDArray[np.float32]:
        """(len(ids), width): vectors, or logits without an activation; ModelError if it fails."""
        self._child.send(task, [list(row) for row in ids])
        return np.asarray(self._child.receive()[1], dtype=np.float32)

    def close(self) -> None:
        """End the process."""
        self._child.close()
