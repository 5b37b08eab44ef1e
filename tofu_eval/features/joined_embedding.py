"""Several embedders as one: each sees something else, and all count the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.base import FeatureModel


class JoinedEmbedder:
    """The feature "embedding" from several embedders: their unit vectors end to end.

    The cosine of two texts is the mean of their cosines under each. Nothing is fitted.

    Args:
        parts: embedders that give unit vectors; two or more.
    """

    name: str = "embedding"

    def __init__(self, parts: Sequence[FeatureModel]) -> None:
        self._parts = tuple(parts)
        self.identity: Mapping[str, Any] = {"joined": [dict(part.identity) for part in parts]}
        self.signature = "+".join(part.signature for part in parts)
        self.truncated = 0

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text alone."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Unit vectors, (len(pairs), sum of the widths).

        Raises:
            ModelError: one of the models fails.
        """
        rows = [part.compute(pairs) for part in self._parts]
        self.truncated = max(getattr(part, "truncated", 0) for part in self._parts)
        joined: NDArray[np.float32] = np.concatenate(rows, axis=1) / np.float32(len(rows) ** 0.5)
        return joined

    def windows(self, text: str) -> list[str]:
        """The text in as many parts as the embedder that reads least needs."""
        splits = [part.windows(text) for part in self._parts if hasattr(part, "windows")]
        return max(splits, key=len, default=[text])

    def close(self) -> None:
        """Give the models' memory back."""
        for part in self._parts:
            getattr(part, "close", lambda: None)()
