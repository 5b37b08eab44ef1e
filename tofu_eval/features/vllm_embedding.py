"""Embeddings on vLLM's pooling interface: the vectors of `embedding.py`, all texts at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.errors import ModelError
from tofu_eval.features.embedding import DEFAULT_MODEL, SentenceEmbedder
from tofu_eval.features.vllm_pooling import Pooling, require_vllm
from tofu_eval.features.weights import said


class VllmEmbedder(SentenceEmbedder):
    """The feature "embedding" from vLLM, in a process of its own; unit vectors.

    The tokenizer and the longest text are those of the sentence-transformers model, so that the
    same texts are cut at the same place.

    Args:
        model: a local directory or a Hub id (`@revision`).
        arguments: further arguments of `vllm.LLM`.

    Raises:
        ModelError: as `SentenceEmbedder`; vLLM cannot load the model, or its process dies.
        MissingDependencyError: vLLM is not installed.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, arguments: Mapping[str, Any] | None = None
    ) -> None:
        require_vllm("Embeddings on vLLM")
        super().__init__(model, device="cpu")
        self.identity = {**self.identity, "engine": "vllm"}
        self.signature = f"{self.signature}|vllm"
        self._arguments = dict(arguments or {})
        self._pooling: Pooling | None = None

    def close(self) -> None:
        """End vLLM's process; the next `compute` starts another."""
        if self._pooling is not None:
            self._pooling.close()
            self._pooling = None
        super().close()

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        if self._pooling is None:
            title = f"vLLM with the embedding model '{self._model}'"
            self._pooling = Pooling(self._path, title, self._arguments)
        limit = self._encoder.max_seq_length
        try:
            ids = self._encoder.tokenizer(
                texts, truncation=limit is not None, max_length=limit, verbose=False
            )["input_ids"]
        except Exception as error:
            raise ModelError(
                f"The tokenizer of the embedding model '{self._model}' failed: {said(error)}. "
                "Give another: --embedding-model PATH_OR_ID"
            ) from error
        vectors = self._pooling.rows("embed", ids)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedding model '{self._model}' gave NaN or infinite numbers in vLLM. "
                "Use --embedding-engine sentence-transformers"
            )
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit
