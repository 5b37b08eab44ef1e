"""Tokenised texts as arrays, with each n-gram interned once: what all n-gram metrics count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.types import REFERENCE

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "tokens": "nltk-word",
        "tokens_13a": "13a.lc",
        "tokens_13a_cased": "13a",
        "tokens_wordpunct": "wordpunct",
        "tokens_rouge": "rouge",
        "tokens_space": "space",
    }
)
"""The published tokenisers by need; see `features/text.py`."""

PUBLISHED = "@published"
"""How the need of a published tokeniser ends that is used as it is, in any script."""

TOKENISERS: Mapping[str, str] = MappingProxyType(
    {
        **{need: f"{name}+chars" for need, name in WORDS.items()},
        **{f"{need}{PUBLISHED}": name for need, name in WORDS.items()},
        "tokens_char": "char",
    }
)
"""The needs that are tokens, and how a signature names the tokeniser. "+chars": in scripts that are
written without spaces, a character is a word (`core/scripts.py`)."""


def retokenize(needs: Sequence[str], tokenizer: str) -> tuple[str, ...]:
    """The needs of a metric with another tokenizer in place of its own.

    Args:
        needs: the metric's.
        tokenizer: "auto" for its own with characters where there are no spaces, "published" for
            its own alone, "char" for characters in every script, as sacreBLEU's `char`.
    """
    if tokenizer == "auto":
        return tuple(needs)
    retokenized = []
    for need in needs:
        input_name = need.removeprefix(REFERENCE)
        if input_name in WORDS:
            other = "tokens_char" if tokenizer == "char" else f"{input_name}{PUBLISHED}"
            need = need.removesuffix(input_name) + other
        retokenized.append(need)
    return tuple(retokenized)


class Tokens(Sequence[list[str]]):
    """The tokens of several texts. As a sequence, it is one list of strings a text.

    `ids` (m,) int32 holds all tokens end to end as numbers, `starts` (texts + 1,) int64 where
    each text begins in it, and `words[i]` is the token with number i.

    n-grams are interned at the first call of `ngrams`, and kept for the next metric.
    """

    def __init__(
        self, ids: NDArray[np.int32], starts: NDArray[np.int64], words: Sequence[str]
    ) -> None:
        self.ids = ids
        self.starts = starts
        self.words = words
        self._levels: dict[int, tuple[NDArray[np.int64], int]] = {}
        self._whole: tuple[Tokens, NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]]) -> Tokens:
        """Tokens of lists of strings; a Tokens is returned as it is."""
        if isinstance(rows, Tokens):
            return rows
        numbers: dict[str, int] = {}
        each = (numbers.setdefault(word, len(numbers)) for row in rows for word in row)
        ids = np.fromiter(each, dtype=np.int32)
        return cls(ids, starts_of(map(len, rows)), list(numbers))

    def take(self, keep: Sequence[int]) -> Tokens:
        """Those of some of the texts; their words keep their numbers."""
        lengths = self.lengths[np.asarray(keep, dtype=np.int64)]
        starts = starts_of(lengths.tolist())
        # Where each token of theirs stands among all.
        first = self.starts[np.asarray(keep, dtype=np.int64)]
        rows = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
        taken = Tokens(self.ids[rows], starts, self.words)
        taken._whole = (self, rows)
        return taken

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each text, (texts,)."""
        return np.diff(self.starts)

    def ngrams(self, n: int) -> tuple[NDArray[np.int64], int]:
        """A number for the n-gram that begins at each token, and how many numbers there are.

        Returns: (m,) numbers from 0, equal where the n-grams are, and -1 where the text ends
            before the n-gram does; no n-gram spans two texts.
        """
        if n not in self._levels:
            self._levels[n] = (
                self._intern_ngrams(n) if self._whole is None else self._inherit_ngrams(n)
            )
        return self._levels[n]

    def counts(self, n: int) -> NDArray[np.int64]:
        """How often each different n-gram occurs, (different,)."""
        numbers, different = self.ngrams(n)
        return np.bincount(numbers[numbers >= 0], minlength=different)

    def count_clipped(self, n: int) -> NDArray[np.int64]:
        """n-grams of each text that occur in another text too, (texts,).

        Each counts as often as it stands in the one other text that has it most often: BLEU's
        clipped matches with all other texts as references, in O(tokens).
        """
        from tofu_eval.core.ngram_kernels import count_clipped

        return count_clipped(*self.ngrams(n), self.starts)

    def _inherit_ngrams(self, n: int) -> tuple[NDArray[np.int64], int]:
        """The n-grams of some of the texts, from those of all."""
        from tofu_eval.core.ngram_kernels import intern

        if self._whole is None:
            return self._intern_ngrams(n)
        whole, rows = self._whole
        return intern(whole.ngrams(n)[0][rows])

    def _intern_ngrams(self, n: int) -> tuple[NDArray[np.int64], int]:
        """From the longest n-grams so far that are shorter; those between are not kept."""
        # numba takes half a second to import.
        from tofu_eval.core.ngram_kernels import extend, intern

        known = max((k for k in self._levels if k < n), default=0)
        level = self._levels[known] if known else intern(self.ids.astype(np.int64))
        for longer in range(max(known, 1) + 1, n + 1):
            level = intern(extend(level[0], self.ids, self.starts, longer))
        return level

    @overload
    def __getitem__(self, index: int) -> list[str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...
    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start, end = int(self.starts[place]), int(self.starts[place + 1])
        return [self.words[i] for i in self.ids[start:end].tolist()]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        return f"Tokens({list(self)!r:.200})"


def starts_of(lengths: Iterable[int]) -> NDArray[np.int64]:
    """Where each of several runs begins when they stand end to end, and where the last ends."""
    return np.cumsum([0, *lengths], dtype=np.int64)
