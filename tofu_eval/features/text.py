"""Tokens of texts, by the name of the need: what n-gram metrics and lengths are counted in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tofu_eval.tokens import Tokens

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
    `tokens_rouge`: runs of a-z and 0-9 in lower case, no stemming. Source: rouge-score.
    `tokens_space`: what white space separates.

    Returns: one list of tokens a text, in order; an empty text has none.
    Raises:
        KeyError: `need` is none of these.
    """
    split = _splitter(need)
    return Tokens.of([split(text) for text in texts])


@cache
def _splitter(need: str) -> Split:
    """How to split a text; what it imports is imported now, and not with this module."""
    return {
        "tokens": _nltk,
        "tokens_13a": _13a,
        "tokens_13a_cased": _13a_cased,
        "tokens_wordpunct": lambda: re.compile(r"\w+|[^\w\s]+").findall,
        "tokens_rouge": lambda: _rouge,
        "tokens_space": lambda: str.split,
    }[need]()


def _nltk() -> Split:
    # Importing nltk takes about two seconds (it pulls in scipy, sklearn and pandas).
    from nltk.tokenize.destructive import NLTKWordTokenizer

    made: Callable[[], Any] = NLTKWordTokenizer
    split: Split = made().tokenize
    return split


def _13a() -> Split:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    whole = Tokenizer13a()
    return lambda text: whole(text.replace("\n", " ").lower().rstrip()).split()


def _13a_cased() -> Split:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    whole = Tokenizer13a()
    return lambda text: whole(text.rstrip()).split()


def _rouge(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
