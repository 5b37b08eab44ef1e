"""Rewards on vLLM's pooling interface: the same numbers as `reward.py`, all pairs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.features.reward import RewardModel, Row
from tofu_eval.features.vllm_pooling import Pooling, require_vllm


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
        require_vllm("A reward model on vLLM")
        super().__init__(model, batch_size=4096)
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def _load(self) -> Pooling:
        title = f"vLLM with the reward model '{self._model}'"
        return Pooling(self._path, title, self._arguments)

    def _score(self, rows: Sequence[Row]) -> list[float]:
        ids = [row["input_ids"] for row in rows]
        return [float(x) for x in self._scorer.rows("classify", ids)[:, 0]]
