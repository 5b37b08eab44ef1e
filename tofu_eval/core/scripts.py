"""Words of every script: what is counted where no space stands between words.

Chinese, Japanese, Thai, Lao, Khmer, Burmese (and Tibetan, Javanese, Balinese) are written without
spaces between words. They are counted in characters, as sacreBLEU's `zh` and `char` do: each
character of such a script is a word, and so is each of their punctuation marks; what else stands in
the text is split as ever. So are emoji in a text of emoji. Whether this holds is decided for each
text by itself; a text without such a character is not touched.
"""

from __future__ import annotations

import re
from itertools import islice

_LETTERS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3400-\u4dbf\u4e00-\u9fff"  # Han
    "\uf900-\ufaff\U00020000-\U000323af\u3100-\u312f\u31a0-\u31bf"
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000-\U0001b16f"  # Kana
    "\u0e01-\u0e4e"  # Thai
    "\u0e81-\u0ecd\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u104c-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17dc\u17dd"  # Khmer
    "\u0f00\u0f40-\u0fbc\ua980-\ua9c0\u1b05-\u1b4b"  # Tibetan, Javanese, Balinese
)
_SIGNS = (
    "\u3001-\u3004\u3008-\u3020\u302a-\u3030\u303d-\u303f\u3200-\u33ff\uff01-\uff65\uffe0-\uffee"
    "\ufe10-\ufe1f\ufe30-\ufe4f\u0e4f-\u0e5b\u0ed0-\u0ed9\u1040-\u104b\u17d4-\u17db\u17e0-\u17e9"
    "\u0f01-\u0f3f"
)
_EMOJI = (
    "[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff]"
    "(?:[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
    "|\u200d[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff])*"
)
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"

UNSPACED = re.compile(f"[{_LETTERS}]")
"""A letter of a script that is written without spaces between words."""

EMOJI = re.compile(f"{_FLAG}|{_EMOJI}")
"""A pictogram with what belongs to it."""

_ONE = f"{_FLAG}|{_EMOJI}|[{_LETTERS}{_SIGNS}]"
_CHARACTER = re.compile(_ONE)
_WORD = re.compile(rf"{_ONE}|(?:(?!{_ONE})\S)+")


def is_unspaced(text: str) -> bool:
    """Whether some of a text's words are characters: it has a letter of such a script, or more
    emoji than letters.
    """
    if text.isascii():
        return False
    if UNSPACED.search(text):
        return True
    emoji = len(EMOJI.findall(text))
    return emoji > 1 and emoji > sum(map(str.isalpha, text))


def separate_characters(text: str) -> str:
    """A text with spaces around the characters that are words; any other text as it is."""
    return _CHARACTER.sub(r" \g<0> ", text) if is_unspaced(text) else text


def split_words(text: str) -> list[str]:
    """The words of a text: what white space separates, and the characters that are words."""
    return separate_characters(text).split()


def truncate_words(text: str, words: int) -> str | None:
    """The text up to the end of its `words`-th word; None where it has fewer."""
    if not is_unspaced(text):
        match = re.match(rf"\s*+(?:\S++\s++){{{words - 1}}}\S++", text)
        return match.group() if match else None
    ends = [word.end() for word in islice(_WORD.finditer(text), words)]
    return text[: ends[-1]] if len(ends) == words else None


def lacks_spaces(text: str) -> bool:
    """Whether a text is mainly written without spaces, so that splitting at them means nothing."""
    if not is_unspaced(text) or len(split_words(text)) == len(text.split()):
        return False
    letters = sum(map(str.isalpha, text))
    return 2 * (len(UNSPACED.findall(text)) + len(EMOJI.findall(text))) >= letters
