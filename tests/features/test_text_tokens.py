from __future__ import annotations

from tofu_eval.features.text import tokens


def test_words_and_punctuation_marks() -> None:
    # Penn Treebank rules: clitics split, the final stop set apart, inner stops kept.
    assert list(tokens(["It's Mr. Fox. I can't go.", "Yes!"])) == [
        ["It", "'s", "Mr.", "Fox.", "I", "ca", "n't", "go", "."],
        ["Yes", "!"],
    ]


def test_empty_texts_have_no_tokens() -> None:
    assert list(tokens(["", " \n"])) == [[], []]
    assert list(tokens([])) == []


def test_any_text_can_be_split() -> None:
    assert list(tokens(["🦊 naïve\r\nend"])) == [["🦊", "naïve", "end"]]
