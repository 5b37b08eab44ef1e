"""Which language a text is in, as far as a list of phrases must know: by its script and its
smallest words. No model, and no guess where nothing speaks for a language.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.resources import files

import yaml

SHORT = 8
"""Words from which on a text must have some of its language's small words."""

LEAST = 0.1
"""Share of a longer text's words that must be small words of the language that it is taken for."""

STRETCH = 3
"""Words that stand together at least where a text is more than names, initials or items of a list:
a language's small words are small words there alone ("Mint" is one of Hungarian)."""

_SCRIPTS = (
    ("ja", "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"),
    ("zh", "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"),
    ("ko", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"),
    ("th", "\u0e00-\u0e7f"),
    ("ar", "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"),
    ("hi", "\u0900-\u097f"),
    ("cyrillic", "\u0400-\u052f\u1c80-\u1c8f"),
    ("latin", "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a"),
)
_OF_SCRIPT = [(name, re.compile(f"[{letters}]")) for name, letters in _SCRIPTS]

_OTHER_LETTERS = {
    "ar": re.compile("[ٹپچڈڑژکگںھہیے]"),
    "cyrillic": re.compile("[ЄІЇЈ-ЌЎЏєі-џҐ-ԯ]"),
}
"""Letters of Persian and Urdu that Arabic lacks; of Ukrainian, Serbian or Kazakh, not Russian."""

_CYRILLIC = ("ru", "uk", "bg", "mk", "sr", "mn")
_DEVANAGARI = ("hi", "mr", "ne")
_STOPS = re.compile(r"[\n.,;:!?\"()\[\]{}«»“”„…।؟،]+")


def language_of(text: str) -> str | None:
    """The ISO code of a text's language; "" where it has no letters; None where nobody can say.

    A text that is too short to tell (few different words, none of which speaks for a language, or
    no STRETCH of them together) is taken for English, Russian or Hindi by its script.
    """
    counts = Counter({name: len(letters.findall(text)) for name, letters in _OF_SCRIPT})
    total = sum(map(str.isalpha, text))
    if not total:
        return ""
    script, letters = counts.most_common(1)[0]
    if counts["ja"] and counts["ja"] + counts["zh"] > letters / 2 and script in ("ja", "zh"):
        script, letters = "ja", counts["ja"] + counts["zh"]
    if 2 * letters < total:
        return None
    others = _OTHER_LETTERS.get(script)
    if others is not None and others.search(text):
        return None
    return _by_small_words(text, script) if script in ("latin", "cyrillic", "hi") else script


def _by_small_words(text: str, script: str) -> str | None:
    running = _running_words(text)
    words = [word.casefold() for word in running]
    hits = {
        language: sum(word in small for word in words)
        for language, small in _small_words(script).items()
    }
    language = max(hits, key=lambda name: hits[name])
    if hits[language] and (len(words) < SHORT or hits[language] >= LEAST * len(words)):
        return language
    names = 0 if text.isupper() else sum(word[0].isupper() for word in set(running))
    if len(set(words)) - names >= SHORT:
        return None
    return {"cyrillic": "ru", "hi": "hi"}.get(script, "en")


def _running_words(text: str) -> list[str]:
    """The words of those parts between stops that have STRETCH of them at least."""
    parts = (
        [word for word in part.split() if word[0].isalpha()]
        for part in _STOPS.split(text.replace("’", "'"))
    )
    return [word for part in parts if len(part) >= STRETCH for word in part]


@cache
def _small_words(script: str) -> dict[str, frozenset[str]]:
    """The small words of the languages that are written in a script."""
    file = files("tofu_eval.metrics").joinpath("small_words.yaml")
    listed: dict[str, str] = yaml.safe_load(file.read_text("utf-8"))
    others = {"cyrillic": _CYRILLIC, "hi": _DEVANAGARI}
    mine = others.get(script) or [
        language for language in listed if language not in (*_CYRILLIC, *_DEVANAGARI)
    ]
    return {language: frozenset(listed[language].split()) for language in mine}
