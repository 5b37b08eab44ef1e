"""Rewards on vLLM's pooling interface: the same numbers as `reward.py`, all pairs at once."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.child import Child
from tofu_eval.errors import MissingDependencyError
from tofu_eval.features.reward import RewardModel, Row


class VllmRewardModel(RewardModel):
    """The feature "reward" from vLLM, in a process of its own; raw logits, no activation.

    Args:
        model: a local directory or a Hub id (`@revision`).
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: as `RewardModel`; vLLM cannot load the model, or its process dies.
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(self, model: str, *, arguments: Mapping[str, Any] | None = None) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError.of("A reward model on vLLM", "vllm", "vllm")
        super().__init__(model, batch_size=4096)
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def _load(self) -> Child:
        import torch

        arguments: dict[str, Any] = {"dtype": "auto", "disable_log_stats": True}
        environment = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if not torch.cuda.is_available():
            arguments |= {"dtype": "float32", "enable_chunked_prefill": False}
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            environment["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2")
        title = f"vLLM with the reward model '{self._model}'"
        child = Child("tofu_eval.features.vllm_worker", title, environment)
        try:
            child.send("load", (str(self._path), {**arguments, **self._arguments}))
            child.receive()
        except BaseException:
            child.close()
            raise
        return child

    def _score(self, rows: Sequence[Row]) -> list[float]:
        self._scorer.send("score", [row["input_ids"] for row in rows])
        scores: list[float] = self._scorer.receive()[1]
        return scores
