"""How much of a response stands in the training data: memorised, or narrowed to it?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.base import FeatureModel, Opening, feature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tofu_eval.importers.training_rows import Examples


@section("training", title="Training data")
class TrainingSettings:
    """What the models were tuned on."""

    data: str | None = setting(
        None,
        metavar="FILE",
        help="Rows as `train` takes them, for training_overlap: how much of responses is in them.",
    )
    ngram: int = setting(5, least=1, metavar="N", help="Words that have to stand there in a row.")
    neighbours: int = setting(
        3, least=1, metavar="N", help="Rows that a response is read after, for training_redundancy."
    )


def overlap_metrics(opening: Opening) -> Sequence[str]:
    """The overlap, where the user names the data."""
    return ("training_overlap",) if opening.settings(TrainingSettings).data else ()


@feature(
    name="training_ngrams",
    settings=(TrainingSettings,),
    wants=("training.data",),
    adds=overlap_metrics,
)
def open_training_ngrams(opening: Opening) -> FeatureModel:
    """(n, 2): n-grams of a response that the training data has, and all that it has itself."""
    settings = opening.settings(TrainingSettings)
    return TrainingNgrams(load_texts(str(settings.data)), settings.ngram)


def load_texts(data: str) -> Examples:
    """The training data, every row of which has a text.

    Raises:
        DataError: no such rows.
        ConfigError: rows of token ids.
    """
    from tofu_eval.importers.training_rows import load_examples

    examples = load_examples(data)
    if not all(row.learnt_texts for row in examples.rows):
        raise ConfigError(
            f"{data} has rows of token ids, whose texts are not known here. Give "
            "--training-data a file of texts."
        )
    return examples


class TrainingNgrams:
    """The feature "training_ngrams": (n, 2), n-grams found in the data, and n-grams.

    Words are lower case, split on white space, characters in scripts without spaces. An n-gram that
    a text has twice counts twice. Kept are 8 bytes for each n-gram of the data, so that two in
    10^19 are taken for one.

    Args:
        examples: the training data, of which the completions count.
        n: words of an n-gram.
    """

    name: str = "training_ngrams"

    def __init__(self, examples: Examples, n: int) -> None:
        self._texts: Iterable[str] = [text for row in examples.rows for text in row.learnt_texts]
        self._n = n
        self.identity: Mapping[str, Any] = {**examples.identity, "n": n}
        self.signature = f"{digest(dict(examples.identity))[:12]},{n}-grams"

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text alone."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Both counts of each text."""
        import numpy as np

        rows = []
        for _, text in pairs:
            own = np.array(hash_ngrams(text, self._n), dtype=np.uint64)
            places = np.searchsorted(self._known, own)
            places[places == len(self._known)] = 0
            hits = int((self._known[places] == own).sum()) if len(self._known) else 0
            rows.append([hits, len(own)])
        return np.array(rows, dtype=np.float32).reshape(-1, 2)

    @cached_property
    def _known(self) -> NDArray[np.uint64]:
        import numpy as np

        parts = [np.array(hash_ngrams(t, self._n), dtype=np.uint64) for t in self._texts]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


def hash_ngrams(text: str, n: int) -> list[int]:
    """A 64-bit number for each n words in a row of a text, in their order."""
    from tofu_eval.core.scripts import split_words

    words = split_words(text.lower())
    return [
        int.from_bytes(
            hashlib.blake2b(
                "\0".join(words[i : i + n]).encode("utf-8", "surrogatepass"), digest_size=8
            ).digest()
        )
        for i in range(len(words) - n + 1)
    ]
