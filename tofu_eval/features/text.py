"""Tokens of texts: what distinct-n and lengths are counted in."""

from __future__ import annotations

from collections.abc import Sequence


def tokens(texts: Sequence[str]) -> list[list[str]]:
    """Split each text into words and punctuation marks, Penn Treebank style.

    Case is kept. A text is taken whole, not sentence by sentence, so no trained sentence
    splitter is needed: of the full stops only the one that ends the text is set apart.

    Returns: one list of tokens a text, in order; an empty text has none.
    Source: NLTK's NLTKWordTokenizer.
    """
    # Importing nltk takes about two seconds (it pulls in scipy, sklearn and pandas).
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()
    return [tokenizer.tokenize(text) for text in texts]
