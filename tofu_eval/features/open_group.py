"""A group on its way into classes, and what is known of its pairs without a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tofu_eval.core.types import Group

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORT = 5
"""Most words of a short answer."""

UNDECIDED = -1
"""The class of every response of a prompt where the judge gave an answer that cannot be read."""


def words_shared(one: str, other: str) -> float:
    """|words in common| / words of the longer text; lower case, split on white space.

    Characters are words in scripts that are written without spaces. Two texts without a word share
    all of them.
    """
    from tofu_eval.core.scripts import split_words

    a, b = split_words(one.lower()), split_words(other.lower())
    longer = max(len(a), len(b))
    return len(set(a) & set(b)) / longer if longer else 1.0


def is_short(one: str, other: str) -> bool:
    """Whether both texts have SHORT words at most."""
    from tofu_eval.core.scripts import split_words

    return max(len(split_words(one)), len(split_words(other))) <= SHORT


def yes_or_no(answer: str) -> float:
    """1 for yes, 0 for no (any case, a full stop at most), NaN for anything else."""
    word = answer.strip().removesuffix(".").lower()
    return {"yes": 1.0, "no": 0.0}.get(word, float("nan"))


@dataclass
class OpenGroup:
    """A group on its way into classes."""

    group: Group
    texts: tuple[str, ...]
    labels: list[int]
    heads: int = 0

    @property
    def head(self) -> int | None:
        """The first text without a class."""
        return self.labels.index(UNDECIDED) if UNDECIDED in self.labels else None


def unit_rows(state: OpenGroup) -> NDArray[np.float64]:
    """Its embeddings at unit length, (texts, d), those of references after the responses'."""
    import numpy as np

    features = state.group.features
    rows: NDArray[np.float64] = np.array(features["embedding"], dtype=np.float64)
    if len(state.texts) > len(rows):
        more = np.asarray(features["reference_embedding"], dtype=np.float64)
        rows = np.concatenate([rows, more])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for i, text in enumerate(state.texts):  # equal texts are equivalent, whatever rounding says
        rows[i] = rows[state.texts.index(text)]
    return rows


def class_features(state: OpenGroup) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Its classes as the features of a group: those of the responses, and of references."""
    import numpy as np

    labels, n = np.array(state.labels, dtype=np.int64), len(state.group.texts)
    yield "equivalence", labels[:n]
    if len(labels) > n:
        yield "reference_equivalence", labels[n:]
