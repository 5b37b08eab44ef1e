"""The word-by-word tokenisers against their sources, on real and on fuzzed text."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import wordpunct_tokenize
from nltk.tokenize.destructive import NLTKWordTokenizer
from sacrebleu.metrics.bleu import BLEU

from tofu_eval.features import text as module
from tofu_eval.features.text import tokens

LOWER = BLEU(tokenize="13a", lowercase=True, effective_order=True)
CASED = BLEU(tokenize="13a")

SOURCES: dict[str, Callable[[str], list[str]]] = {
    "tokens": NLTKWordTokenizer().tokenize,
    "tokens_13a": lambda text: LOWER._preprocess_segment(text.replace("\n", " ")).split(),
    "tokens_13a_cased": lambda text: CASED._preprocess_segment(text).split(),
    "tokens_wordpunct": wordpunct_tokenize,
    # rouge_score.tokenize.tokenize(text, None), in its words
    "tokens_rouge": lambda text: re.sub(r"[^a-z0-9]+", " ", text.lower()).split(),
    "tokens_space": str.split,
}

SIGNS = " \n\t\r\x1c\u00a0.,:;!?'\"`-()[]{}<>&%$#@*«»“”‘’„…–—/\\^~_|+=0123aBzΣéß🦊\ue000"
STRINGS = """
    Can't cannot gonna wanna gimme d'ye more'n 'tis 't 's 'll n't N'T -- ... '' `` ." .') &quot;
    &amp;lt; <skipped> 3.14 1,000 U.S. e.g. 'em x Dog's dog. Wanna's gonna. end.
"""
PIECES = st.sampled_from([*SIGNS, *STRINGS.split(), "the ", '." ', "wanna ", "-\n", '\n"', "\n''"])
TEXTS = st.lists(PIECES, max_size=24).map("".join)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_word_by_word_is_the_same(text: str) -> None:
    for need, source in SOURCES.items():
        assert (need, list(tokens([text], f"{need}@published"))) == (need, [source(text)])


def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    texts = ["one two three. four", "two one!"]
    kept = [tokens(texts) for _ in range(3)]
    assert all(list(rows) == list(kept[0]) for rows in kept)
    assert list(kept[0]) == [SOURCES["tokens"](text) for text in texts]


def test_words_and_punctuation_marks() -> None:
    # Penn Treebank rules: clitics split, the final stop set apart, inner stops kept.
    assert list(tokens(["It's Mr. Fox. I can't go.", "Yes!"])) == [
        ["It", "'s", "Mr.", "Fox.", "I", "ca", "n't", "go", "."],
        ["Yes", "!"],
    ]


def test_empty_texts_have_no_tokens() -> None:
    assert list(tokens(["", " \n"])) == [[], []]
    assert list(tokens([])) == []
