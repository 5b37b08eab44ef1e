"""How much of a response's surprise the training data takes away: memorised, or narrowed to it?

A language model reads rows of the training data, then the prompt, then the response, labelled as in
`likelihood.py`; once after the rows whose completions are most like the response, and once after
as many rows drawn at random. What the nearest take away beyond the random ones is of those rows;
what the random ones take away is of the data's manner as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.base import FeatureModel, Opening, feature
from tofu_eval.features.likelihood import LikelihoodSettings, shared_reader
from tofu_eval.features.training_overlap import TrainingSettings, load_texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tofu_eval.features.likelihood_reader import Reader
    from tofu_eval.importers.training_rows import Examples, Row

Pair = tuple[str, str]
"""What a row of the training data asks, and the completion that is learnt."""

BLOCK = 2**22
"""Similarities that are in memory at a time."""


@feature(
    name="training_likelihood",
    needs=("likelihood",),
    settings=(TrainingSettings, LikelihoodSettings),
    wants=("training.data",),
)
def open_training_likelihood(opening: Opening) -> FeatureModel:
    """(n, 2): nats of a response after the nearest rows of the training data, and after others."""
    settings = opening.settings(TrainingSettings)
    examples = load_texts(str(settings.data))
    return TrainingLikelihood(shared_reader(opening), examples, settings.neighbours, opening.seed)


class TrainingLikelihood:
    """The feature "training_likelihood": (n, 2), nats after nearest and after random rows.

    The nearest are those whose completions have the highest cosine to the response, words in lower
    case (characters in scripts without spaces) weighted by how rare they are in the data; the
    nearest stands last. The random ones are drawn by the seed, the prompt and the response.
    Completions that are equal count once.

    Args:
        reader: what reads texts.
        examples: the training data.
        neighbours: rows that are read before a response; at most as many as there are.
        seed: what the random rows are drawn by.
    """

    name: str = "training_likelihood"

    def __init__(self, reader: Reader, examples: Examples, neighbours: int, seed: int) -> None:
        self.reader, self._count, self._seed = reader, neighbours, seed
        by_answer = {answer: (asked, answer) for r in examples.rows for asked, answer in _pairs(r)}
        self._pairs = list(by_answer.values())
        self.identity: Mapping[str, Any] = {
            **reader.identity, **examples.identity, "neighbours": neighbours, "seed": seed
        }  # fmt: skip
        data = digest(dict(examples.identity))[:12]
        self.signature = f"{reader.signature},{data},{neighbours} rows"

    @property
    def truncated(self) -> int:
        """How many texts were read in windows."""
        return self.reader.windowed

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt's text and the response."""
        return digest([prompt.asked, text])

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Both nats of each response.

        Raises:
            ModelError: the model cannot be loaded, fails, or gives no finite numbers.
        """
        import numpy as np

        asked = list(dict.fromkeys((prompt.asked, text) for prompt, text in pairs))
        near = self.find_nearest([text for _, text in asked])
        drawn = [self._draw(*one) for one in asked]
        passes = [
            (self._context(rows, prompt), (text,))
            for some in (near, drawn)
            for (prompt, text), rows in zip(asked, some, strict=True)
        ]
        nats = np.array([float(rows[0, 0]) for rows in self.reader.read(passes)])
        row = dict(zip(asked, nats.reshape(2, -1).T, strict=True))
        return np.array([row[prompt.asked, text] for prompt, text in pairs], dtype=np.float32)

    def find_nearest(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text the numbers of the completions most like it, the nearest last."""
        import numpy as np

        count = min(self._count, len(self._pairs))
        vectorizer, known = self._index
        rows = vectorizer.transform(texts)
        step, found = max(1, BLOCK // max(1, len(self._pairs))), []
        for start in range(0, len(texts), step):
            alike = (rows[start : start + step] @ known.T).toarray()
            best = np.argpartition(-alike, count - 1, axis=1)[:, :count]
            for row, some in zip(alike, best, strict=True):
                found.append(sorted(some.tolist(), key=lambda place: (row[place], -place)))
        return found

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self.reader.close()

    @cached_property
    def _index(self) -> tuple[Any, Any]:
        """What makes vectors of texts, and those of the completions."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer=_split, sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform([answer for _, answer in self._pairs])

    def _draw(self, prompt: str, text: str) -> list[int]:
        seed = int(digest([self._seed, prompt, text])[:16], 16)
        places = range(len(self._pairs))
        return random.Random(seed).sample(places, min(self._count, len(places)))  # noqa: S311

    def _context(self, rows: Sequence[int], prompt: str) -> str:
        from tofu_eval.features.likelihood_reader import lay_out

        shown = [lay_out(asked, [answer])[0] for asked, answer in (self._pairs[i] for i in rows)]
        return "\n\n".join([*shown, prompt.strip("\n")]) if prompt else "\n\n".join(shown)


def _split(text: str) -> list[str]:
    from tofu_eval.core.scripts import split_words

    return split_words(text.lower()) or [""]  # so that no vector is empty


def _pairs(row: Row) -> list[Pair]:
    """What a row asks and what is learnt: each learnt turn with the turns of the user before it."""
    from tofu_eval.importers.training_rows import Example

    if not isinstance(row, Example):
        return [("", text) for text in row.learnt_texts]
    found, asked = [], ""
    for turn in row.turns:
        if turn.role == "user":
            asked = turn.content
        elif turn.learnt:
            found.append(("\n\n".join(part for part in (asked, row.input) if part), turn.answer))
    return found
