"""The equivalence of a run that is scored already, without the model that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import ModelError
from tofu_eval.features.equivalence import THRESHOLDS, Equivalence, Pair, inputs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RecalledEquivalence(Equivalence):
    """The equivalence that a run was scored with, from its cache alone: no model is loaded.

    Args:
        identity: what run.json says of the feature "equivalence".

    Raises:
        KeyError: that is no identity of an equivalence.
    """

    def __init__(self, identity: Mapping[str, Any]) -> None:
        super().__init__("exact")
        self.method = identity["method"]
        self.identity = identity
        self._kind = "classifier" if self.method.startswith("novelty-bench") else self.method
        self._threshold = identity.get("threshold", THRESHOLDS.get(self._kind, 0.5))
        self.asks_prompts = self._kind in ("judge", "nli")
        self._linkage = identity["linkage"]
        self.requires = inputs_of(self._kind)

    def _ask(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        raise ModelError(
            f"The run lacks {len(pairs)} answers of its equivalence '{self.method}'. "
            "Run the command that made it again."
        )
