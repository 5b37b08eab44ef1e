"""Tokens of texts, by the name of the need: what n-gram metrics and lengths are counted in.

Every tokeniser here is given one white-space word at a time and remembers what it made of it:
most words come back. `tests/features/test_text_tokens.py` checks each against its source on
fuzzed text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from tofu_eval.core.scripts import EMOJI, is_unspaced, separate_characters
from tofu_eval.core.tokens import PUBLISHED, Tokens

REMEMBERED = 100_000
"""Distinct words after which a tokeniser forgets them all: what keeps its memory bounded."""

SEPARATORS = re.compile("[\x1c-\x1f]")
"""White space for Python and not for NLTK; texts with them go through NLTK whole."""

APART = "\ue000"
"""Marks a word that does not follow a space, where that matters; for private use in Unicode."""

Split = Callable[[str], list[str]]


def tokens(texts: Sequence[str], need: str = "tokens") -> Tokens:
    """Split each text into tokens.

    `tokens`: words and punctuation marks, Penn Treebank style, case kept. A text is taken whole,
    not sentence by sentence, so no trained sentence splitter is needed: of the full stops only
    the one that ends the text is set apart. Source: NLTK's NLTKWordTokenizer.
    `tokens_13a`: sacreBLEU's 13a in lower case, a newline read as a space, as in
    arXiv:2605.00195; `tokens_13a_cased`: 13a as it comes.
    `tokens_wordpunct`: runs of letters and digits, and runs of other signs, case kept. Source:
    NLTK's wordpunct_tokenize.
    `tokens_rouge`: runs of a-z and 0-9 in lower case, no stemming. Source: rouge-score. In a text
    most of whose letters are not Latin: runs of letters and digits of any script.
    `tokens_space`: what white space separates.
    In all of these, characters are words in scripts that are written without spaces
    (`core/scripts.py`); a need that ends with "@published" is the source's alone.
    `tokens_char`: characters that are no white space, in every script.

    Returns: one list of tokens a text, in order; an empty text has none.
    Raises:
        KeyError: `need` is none of these.
    """
    memory = _memory(need)
    ids: list[int] = []
    starts = [0]
    as_published = need.endswith(PUBLISHED)
    for text in texts:
        ids.extend(memory.ids(text if as_published else separate_characters(text)))
        starts.append(len(ids))
    tokenized = Tokens(
        np.array(ids, dtype=np.int32), np.array(starts, dtype=np.int64), memory.words
    )
    if len(memory.parts) > REMEMBERED:
        memory.forget()
    return tokenized


class Memory:
    """Token numbers of every word seen so far; `words[i]` is the token with number i.

    Args:
        split: the tokens of a white-space word.
        prepare: what is done to a text before it is split into words.
        whole: the tokens of a text that has SEPARATORS; without it they are white space.
    """

    def __init__(
        self,
        split: Split,
        prepare: Callable[[str], str] | None = None,
        whole: Split | None = None,
    ) -> None:
        self.whole = whole
        self.split = split
        self.prepare = prepare
        self.forget()

    def forget(self) -> None:
        """Begin anew; what was returned before stays valid."""
        self.words: list[str] = []
        self.parts = _Parts(self.split, self.words)

    def ids(self, text: str) -> Iterable[int]:
        """The numbers of a text's tokens."""
        if self.prepare is not None:
            text = self.prepare(text)
        if self.whole is not None and SEPARATORS.search(text):
            return self.of_whole(text)
        return chain.from_iterable(map(self.parts.__getitem__, text.split()))

    def of_whole(self, text: str) -> list[int]:
        """The numbers of the tokens that the source itself makes of the text."""
        assert self.whole is not None  # noqa: S101 (its two callers have one)
        return list(map(self.parts.number, self.whole(text)))


class _Parts(dict[str, tuple[int, ...]]):
    """The token numbers of a word, made when it is first asked for."""

    def __init__(self, split: Split, words: list[str]) -> None:
        super().__init__()
        self._split = split
        self._words = words
        self._numbers: dict[str, int] = {}

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = tuple(map(self.number, self._split(word)))
        self[word] = ids
        return ids

    def number(self, token: str) -> int:
        """The number of a token."""
        number = self._numbers.get(token)
        if number is None:
            number = self._numbers[token] = len(self._words)
            self._words.append(token)
        return number


@cache
def _memory(need: str) -> Memory:
    makers: dict[str, Callable[[], Memory]] = {
        "tokens": _Treebank,
        "tokens_13a": lambda: Memory(_split_13a, _lower_line),
        "tokens_13a_cased": lambda: Memory(_split_13a, _joined_lines),
        "tokens_wordpunct": _AnyScript,
        "tokens_wordpunct@published": _wordpunct,
        "tokens_rouge": lambda: _AnyScript(rouge=True),
        "tokens_rouge@published": lambda: Memory(_ROUGE, str.lower),
        "tokens_space": lambda: Memory(lambda word: [word]),
        "tokens_char": lambda: Memory(list),
    }
    return makers[need if need in makers else need.removesuffix(PUBLISHED)]()


def _split_simple(word: str, marks: str) -> list[str] | None:
    """The tokens of a word of letters and of one with a mark behind it; None for any other.

    Most new words are such, and regular expressions are slow.
    """
    if not word.isascii():
        return None
    if word.isalpha():
        return [word]
    stem, mark = word[:-1], word[-1:]
    return [stem, mark] if mark in marks and stem.isalpha() else None


_ROUGE: Split = re.compile(r"[a-z0-9]+").findall
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]")
_MARK_BEHIND_LETTER = re.compile(
    "[^\\W_][\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u0670"
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0980-\u0d7f]"
)


class _AnyScript(Memory):
    """NLTK's wordpunct or rouge-score's words, where the source knows the script of a text.

    Elsewhere a word is a run of letters, digits and the marks on them: Python's own letters leave
    out the vowel signs of Hindi and its sisters, and rouge-score's all but Latin ones.
    """

    def __init__(self, *, rouge: bool = False) -> None:
        import regex

        self._rouge = rouge
        pattern = rf"{EMOJI.pattern}|[^\W_]+" if rouge else r"\w+|[^\w\s]+"
        self._any_script: Split = regex.compile(pattern).findall
        source = Memory(_ROUGE, str.lower) if rouge else _wordpunct()
        super().__init__(source.split, source.prepare, source.whole)

    def ids(self, text: str) -> Iterable[int]:
        if not text.isascii() and self._is_foreign(text):
            words = self._any_script(text.lower() if self._rouge else text)
            return map(self.parts.number, words)
        return super().ids(text)

    def _is_foreign(self, text: str) -> bool:
        if not self._rouge:
            return _MARK_BEHIND_LETTER.search(text) is not None
        letters = sum(map(str.isalpha, text))
        return is_unspaced(text) or 2 * len(_LATIN.findall(text)) < letters


# mteval-v13a, as sacreBLEU 2.6 has it

_13A = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def _split_13a(word: str) -> list[str]:
    if (plain := _split_simple(word, ".,;:?!")) is not None:
        return plain
    if "&" in word:
        for entity, sign in _ENTITIES:
            word = word.replace(entity, sign)
    word = f" {word} "
    for pattern, replacement in _13A:
        word = pattern.sub(replacement, word)
    return word.split()


def _lower_line(text: str) -> str:
    text = text.lower()
    return text.replace("<skipped>", "") if "<skipped>" in text else text


def _joined_lines(text: str) -> str:
    """13a drops a hyphen at the end of a line and joins what it parted."""
    return text.rstrip().replace("<skipped>", "").replace("-\n", "")


# NLTK


def _wordpunct() -> Memory:
    from nltk.tokenize import regexp

    made: Callable[[], Any] = regexp.WordPunctTokenizer
    split: Split = made().tokenize
    return Memory(lambda word: _split_simple(word, ".,;:?!") or split(word), whole=split)


_QUOTE_APART = re.compile(r"(?<=[^\S ])(?=\"|'')|^(?='')")
_CONTRACTIONS = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
_CLOSERS = frozenset("])}>\"'»”’")


class _Treebank(Memory):
    """NLTKWordTokenizer, word by word.

    What it makes of a word depends on what is around it in two cases only: a quote that follows
    another white space than a space is a closing one, and the last full stop of the text is set
    apart. Texts where the beginning or the end is more involved go through NLTK whole; those of one
    word do so once.
    """

    def __init__(self) -> None:
        # Importing nltk takes about two seconds (it pulls in scipy, sklearn and pandas).
        from nltk.tokenize.destructive import NLTKWordTokenizer

        made: Callable[[], Any] = NLTKWordTokenizer
        self._source: Split = made().tokenize
        super().__init__(self._word, whole=self._source)

    def ids(self, text: str) -> Iterable[int]:
        if APART in text or SEPARATORS.search(text) or text.startswith(('""', "\"'")):
            return self.of_whole(text)
        if '"' in text or "''" in text:
            text = _QUOTE_APART.sub(APART, text)
        words = text.split()
        if len(words) < 2:
            return self.parts[f"\n{text.replace(APART, '')}"]  # which no word begins with
        if _CLOSERS.issuperset(words[-1]):
            return self.of_whole(text.replace(APART, ""))
        # The space marks the last word, which no other word can have.
        words[-1] += " "
        return chain.from_iterable(map(self.parts.__getitem__, words))

    def _word(self, word: str) -> list[str]:
        if word.startswith("\n"):
            return self._source(word[1:])
        last = word.endswith(" ")
        core = word.rstrip(" ")
        if (simple := _simple(core, last=last)) is not None:
            return simple
        before = "x\n" if word.startswith(APART) else "x "
        after = "" if last else " x"
        found = self._source(f"{before}{core.strip(APART)}{after}")
        return found[1:] if last else found[1:-1]


def _simple(word: str, *, last: bool) -> list[str] | None:
    """NLTK's tokens of a word of letters with at most one mark or 's behind; else None."""
    if word.endswith("'s"):
        pieces = _split_simple(word[:-2], "")
        pieces = pieces and [*pieces, "'s"]
    elif word.endswith(".") and word[:-1].isalpha() and word.isascii():
        pieces = [word[:-1], "."] if last else [word]
    else:
        pieces = _split_simple(word, ",;:?!")
    # NLTK parts a few words of letters.
    return None if pieces is None or pieces[0].rstrip(".").lower() in _CONTRACTIONS else pieces
