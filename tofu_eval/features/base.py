"""What a feature model is: whatever costs a model to compute, once per text, kept in the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tofu_eval.types import Prompt


class FeatureModel(Protocol):
    """A model that turns (prompt, response) pairs into rows of numbers.

    `name` is the word that metrics use in `needs` ("embedding", "reward"); `identity` says
    exactly which weights made the numbers; `signature` is its short form, cited with a score.
    `truncated` counts the texts, of those computed so far, that were too long for the model.
    """

    name: str
    identity: Mapping[str, Any]
    signature: str
    truncated: int

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of what the row depends on; pairs with equal keys are computed once."""
        ...

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """One row a pair, (len(pairs), width)."""
        ...
