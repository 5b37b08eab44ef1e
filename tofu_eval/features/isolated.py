"""A feature model in a process of its own, whose memory is free when the feature is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.child_process import Remote
from tofu_eval.core.types import Prompt
from tofu_eval.features.base import FeatureModel, Opening
from tofu_eval.features.pairs import PairClassifier


class Isolated:
    """Any `FeatureModel` whose weights are loaded, and computed with, in a child process.

    It is made here too, which reads its configuration and its tokenizer alone.

    Args:
        make: its class.
        arguments: what the class is made with.
        options: the same.
    """

    def __init__(self, make: Callable[..., FeatureModel], *arguments: Any, **options: Any) -> None:
        self._here = make(*arguments, **options)
        self.identity: Mapping[str, Any] = self._here.identity
        self.signature = self._here.signature
        self.truncated = self._before = 0
        self.name = str(getattr(self._here, "name", make.__name__))
        title = f"The model of the feature '{self.name}'"
        self._remote = Remote(make, title, *arguments, **options)

    def key(self, prompt: Prompt, text: str) -> str:
        """The key that the model itself gives."""
        return self._here.key(prompt, text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """The rows that the model itself gives.

        Raises:
            ModelError: the model fails, or its process dies.
        """
        rows: NDArray[np.float32] = self._remote.call("compute", list(pairs))
        self.truncated = self._before + self._remote.get("truncated")
        return rows

    def find_unread(self, texts: Sequence[str]) -> tuple[list[bool], list[bool]]:
        """What the model's tokenizer says; it is loaded here."""
        found: tuple[list[bool], list[bool]] = self._here.find_unread(texts)  # type: ignore[attr-defined]
        return found

    def windows(self, text: str) -> list[str]:
        """The parts of a text that the model reads whole; the text where it does not say."""
        windows = getattr(self._here, "windows", lambda whole: [whole])
        parts: list[str] = windows(text)
        return parts

    def close(self) -> None:
        """End the process; the next `compute` starts another."""
        self._before = self.truncated  # the next process counts from 0
        self._remote.close()


class IsolatedClassifier(PairClassifier):
    """A `PairClassifier` whose weights are loaded, and computed with, in a child process."""

    def __init__(self, model: str, option: str, **options: Any) -> None:
        super().__init__(model, option, **options)
        self._before = 0
        self._remote = Remote(PairClassifier, f"The model of {option}", model, option, **options)

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """See `PairClassifier.probabilities`; ModelError also where the process dies."""
        rows: NDArray[np.float32] = self._remote.call("probabilities", list(pairs))
        self.truncated = self._before + self._remote.get("truncated")
        return rows

    def close(self) -> None:
        """End the process; the next call starts another."""
        self._before = self.truncated
        self._remote.close()


def open_classifier(model: str, option: str, *, isolate: bool, **options: Any) -> PairClassifier:
    """A classifier of pairs, here or in a process of its own; see `PairClassifier`."""
    made = IsolatedClassifier if isolate else PairClassifier
    return made(model, option, **options)


def open_model(
    opening: Opening, make: Callable[..., FeatureModel], model: str, **options: Any
) -> FeatureModel:
    """A model of that class on the run's device, here or in a process of its own."""
    placed = {"device": opening.device, **options}
    return Isolated(make, model, **placed) if opening.isolate else make(model, **placed)
