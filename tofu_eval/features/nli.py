"""Natural-language inference between responses: which contradict, which follow from each other."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from tofu_eval.core.errors import ModelError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Group, Report, digest, no_report
from tofu_eval.features.base import Cache, GroupFeature, Opening, feature, fill

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NLI_MODEL = "FacebookAI/roberta-large-mnli"

SENTENCES = 3
"""Sentences of a pair of responses that are compared at most."""

Pairs = list[tuple[tuple[int, int], str, str]]
"""Which two responses, premise, hypothesis."""


@section("nli", title="Inference")
class InferenceSettings:
    """What says whether one text follows from another."""

    model: str = setting(
        NLI_MODEL, metavar="MODEL", help="Classifier of entailment and contradiction."
    )


@feature(name="nli", level="group", settings=(InferenceSettings,), pairwise=True)
def open_inference(opening: Opening) -> GroupFeature:
    """(n, 1): for each response the mean of P(contradiction) - P(entailment) over its pairs."""
    return _open("nli", opening)


@feature(name="nli_sentences", level="group", settings=(InferenceSettings,), pairwise=True)
def open_sentence_inference(opening: Opening) -> GroupFeature:
    """(n, 2): over a response's pairs of sentences, the sum of agreement, and their number."""
    return _open("nli_sentences", opening)


def _open(name: Literal["nli", "nli_sentences"], opening: Opening) -> Inference:
    model = opening.settings(InferenceSettings).model
    return Inference(name, model, device=opening.device, isolate=opening.isolate)


class Inference:
    """The features "nli" and "nli_sentences", from P(entailment) − P(contradiction) of pairs.

    nli: (n, 1), for each response the mean of P(contradiction) − P(entailment) over the ordered
    pairs of whole responses that it is in. nli_sentences: (n, 2), for each response the sum of
    P(entailment) − P(contradiction), both ways, over the sentence pairs that it is in, and how
    many these are; sentences stand at the same place in both responses, at most SENTENCES a pair.

    `truncated` counts the pairs that were too long for the model.

    Args:
        name: which of the two.
        model: a classifier with labels called entailment and contradiction.
        device: as PyTorch names it.
        isolate: whether the model gets a process of its own.

    Raises:
        ModelError: the model cannot be had, or has no such labels.
    """

    def __init__(
        self,
        name: Literal["nli", "nli_sentences"],
        model: str,
        *,
        device: str | None = None,
        isolate: bool = False,
    ) -> None:
        from tofu_eval.features.isolated import open_classifier

        self.name: str = name
        self._model = open_classifier(model, "--nli-model", isolate=isolate, device=device)
        self._columns = _columns(self._model.labels, model, "ENTAIL", "CONTRADICT")
        self.truncated = 0
        self.identity: Mapping[str, Any] = dict(self._model.identity)
        self.signature: str = self._model.signature

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """One row a response; each ordered pair of texts goes through the model once.

        Raises:
            ModelError: the model fails.
        """
        asked = [self._pairs(group) for group in groups]
        texts = {digest([a, b]): (a, b) for pairs in asked for _, a, b in pairs}

        def entail_missing(some: Sequence[str]) -> tuple[NDArray[np.float32], int]:
            found = self._model.probabilities([texts[key] for key in some])
            cut, self.truncated = self._model.truncated - self.truncated, self._model.truncated
            return found[:, self._columns], cut

        fill(cache, texts, entail_missing, stage=f"{self.name} pairs", report=report)
        return [
            {self.name: self._rows(len(group.texts), pairs, cache)}
            for group, pairs in zip(groups, asked, strict=True)
        ]

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self._model.close()

    def _pairs(self, group: Group) -> Pairs:
        """(responses, premise, hypothesis); each unordered pair of texts both ways."""
        pairs: Pairs = []
        sentences = [_sentences(text) for text in group.texts]
        for i, j in combinations(range(len(group.texts)), 2):
            both = [(group.texts[i], group.texts[j])]
            if self.name == "nli_sentences":
                both = _align_sentences(sentences[i], sentences[j])
            for one, other in both:
                pairs += [((i, j), one, other), ((i, j), other, one)]
        return pairs

    def _rows(self, n: int, pairs: Pairs, cache: Cache) -> NDArray[np.float64]:
        import numpy as np

        sums = np.zeros((n, 2))
        if pairs:
            told = cache.rows([digest([one, other]) for _, one, other in pairs]).astype(np.float64)
            for ((i, j), _, _), (entails, contradicts) in zip(pairs, told, strict=True):
                for place in (i, j):
                    sums[place] += (entails - contradicts, 1.0)
        if self.name == "nli_sentences":
            return sums
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = -sums[:, :1] / sums[:, 1:]
        return means


def entailment_column(labels: Sequence[str], model: str) -> int:
    """Which of a classifier's labels says that one text follows from another.

    Raises:
        ModelError: there is not one such label.
    """
    return _columns(labels, model, "ENTAIL")[0]


def _columns(labels: Sequence[str], model: str, *words: str) -> list[int]:
    # "NOT_ENTAILMENT" is another label than entailment.
    found = [
        place
        for word in words
        for place, label in enumerate(labels)
        if word in label and not label.startswith(("NOT", "NON"))
    ]
    if len(found) != len(words):
        expected = " and ".join({"ENTAIL": "entailment"}.get(w, "contradiction") for w in words)
        raise ModelError(
            f"'{model}' has the labels {', '.join(labels)}, expected {expected} among them. "
            "Give another: --nli-model PATH_OR_ID"
        )
    return found


def _sentences(text: str) -> list[str]:
    """Split after . ! ? before white space, and at line ends; as arXiv:2604.16027 does."""
    parts = re.split(r"[.!?]+\s+|\n+", re.sub(r"[\r\t]", " ", text))
    return [part.strip() for part in parts if part.strip()]


def _align_sentences(one: Sequence[str], other: Sequence[str]) -> list[tuple[str, str]]:
    """Up to SENTENCES sentences at the same places; of more, a draw that the pair itself seeds."""
    places = range(min(len(one), len(other)))
    if len(places) > SENTENCES:
        seed = int(digest(sorted([list(one), list(other)]))[:16], 16)
        places = sorted(random.Random(seed).sample(places, SENTENCES))  # type: ignore[assignment] # noqa: S311
    return [(one[i], other[i]) for i in places]
