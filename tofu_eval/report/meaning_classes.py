"""Classes by embeddings, to look at, where a run has no equivalence of its own.

Where every response is worded otherwise, classes of equal text are one response each, and strips of
them say nothing. These are made as `--equivalence embedding` makes them, over the texts of all
models at once, from the embeddings that the run keeps. No metric and no curve stands on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.core.types import Group, Prompt, digest
from tofu_eval.features.equivalence import THRESHOLDS
from tofu_eval.features.open_group import UNDECIDED
from tofu_eval.features.recalled_equivalence import RecalledEquivalence
from tofu_eval.run.feature_cache import FeatureCache
from tofu_eval.run.store import Run

METHOD = "embedding"
THRESHOLD = THRESHOLDS[METHOD]


class MeaningClasses:
    """The classes of a run's responses by the cosine of their embeddings given the prompt."""

    def __init__(self, run: Run) -> None:
        recorded: Mapping[str, Any] = run.manifest.get("features", {})
        self._rows: FeatureCache | None = None
        if "embedding" in recorded and "equivalence" not in recorded:
            self._rows = run.features("embedding", digest(recorded["embedding"]["identity"]))
        self._equivalence = RecalledEquivalence({"method": METHOD, "linkage": "complete"})

    def of(self, prompt: Prompt, samples: Sequence[Sequence[str]]) -> list[list[int]] | None:
        """The class of each response, a list a model; the largest class is 0.

        Args:
            prompt: what was answered.
            samples: the texts of each model.
        Returns: None where the run lacks an embedding, of the prompt's text too.
        """
        texts = list(dict.fromkeys(text for own in samples for text in own))
        keys, asked = [digest(text) for text in texts], digest(prompt.asked)
        if self._rows is None or not texts or self._rows.find_missing([*keys, asked]):
            return None
        features = {
            "embedding": self._rows.rows(keys),
            "prompt_embedding": self._rows.rows([asked]),
        }
        group = Group(prompt, tuple(texts), features=features)
        (made,) = self._equivalence.compute([group], FeatureCache())
        labels = dict(zip(texts, made["equivalence"].tolist(), strict=True))
        if UNDECIDED in labels.values():
            return None
        sizes = Counter(labels[text] for own in samples for text in own)
        number = {label: i for i, (label, _) in enumerate(sizes.most_common())}
        return [[number[labels[text]] for text in own] for own in samples]
