"""Which responses say the same, as the run's own equivalence has it; no model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group, Prompt, digest
from tofu_eval.features.open_group import UNDECIDED
from tofu_eval.features.recalled_equivalence import RecalledEquivalence
from tofu_eval.run.store import Run


class Classes:
    """The class of each response of a group.

    `method` is that of the run's equivalence; where the run has none, or lacks what it was
    computed from, it is "exact": texts that differ at most in white space at the ends. `note`
    says so in the latter case.
    """

    def __init__(self, run: Run) -> None:
        recorded: Mapping[str, Any] = run.manifest.get("features", {})
        self.method = "exact"
        self.note = ""
        self._recalled: RecalledEquivalence | None = None
        self._embeddings: Any = None
        if "equivalence" not in recorded:
            return
        identity = recorded["equivalence"]["identity"]
        try:
            recalled = RecalledEquivalence(identity)
        except KeyError:  # of another version of this tool
            self.forget()
            return
        self._cache = run.features("equivalence", digest(identity))
        if recalled.requires and "embedding" in recorded:
            self._embeddings = run.features("embedding", digest(recorded["embedding"]["identity"]))
        if recalled.requires and self._embeddings is None:
            self.forget()
            return
        self._recalled = recalled
        self.method = recalled.method

    def of(self, group: Group) -> NDArray[np.int64]:
        """(n,) class numbers from 0 in order of first use; -1 where a judge left it undecided.

        Raises:
            ModelError: the run lacks an answer that the method needs; `forget` goes on without.
        """
        if self._recalled is None:
            texts = [text.strip() for text in group.texts]
            first = {text: i for i, text in enumerate(dict.fromkeys(texts))}
            return np.array([first[text] for text in texts], dtype=np.int64)
        if self._embeddings is not None:
            keys = [digest(text) for text in group.texts]
            if self._embeddings.find_missing(keys):
                raise ModelError("The run lacks an embedding. Run the command that made it again.")
            features = {"embedding": self._embeddings.rows(keys)}
            if "prompt_embedding" in self._recalled.requires and group.prompt.asked.strip():
                features["prompt_embedding"] = self._prompt_rows(group.prompt)
            group = replace(group, features=features)
        (made,) = self._recalled.compute([group], self._cache)
        return np.asarray(made["equivalence"])

    def _prompt_rows(self, prompt: Prompt) -> NDArray[np.float32]:
        """The prompt's vector, where it was read as a whole."""
        key = digest(prompt.asked)
        if self._embeddings.find_missing([key]):
            raise ModelError("The run lacks an embedding. Run the command that made it again.")
        rows: NDArray[np.float32] = self._embeddings.rows([key])
        return rows

    def forget(self) -> None:
        """Use identical text from now on, and say so in `note`."""
        self._recalled, self._embeddings, self.method = None, None, "exact"
        self.note = (
            "The run does not hold what its equivalence was computed from: here, responses with "
            "identical text form a class. Run the command that made it again."
        )


def is_decided(labels: Sequence[int] | NDArray[np.int64]) -> bool:
    """Whether every response of a group has a class."""
    return UNDECIDED not in list(labels)
