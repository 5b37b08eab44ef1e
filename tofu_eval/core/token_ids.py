"""The ids in a tokenizer's files, which libraries believe.

They make room for every id up to the greatest: one of 2**31 in a file of some kilobytes asks for
gigabytes, and where there are none the process ends without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tofu_eval.core.bounded import read_bounded
from tofu_eval.core.errors import ModelError

MOST = 10_000_000
"""More tokens than any vocabulary has."""

VOCABULARIES = ("vocab.json", "added_tokens.json")
"""Files that are a vocabulary by themselves; other numbers of the others may be of any size."""

FILES = (*VOCABULARIES, "tokenizer.json", "tokenizer_config.json")

_LARGE = re.compile(rb"\d{%d}" % len(str(MOST)))


def check_token_ids(folder: Path) -> None:
    """Refuse a tokenizer that has ids which no vocabulary has.

    Raises:
        ModelError: it has, or a file of it cannot be read.
    """
    for file in (folder / name for name in FILES if (folder / name).exists()):
        try:
            content = read_bounded(file)
            if _LARGE.search(content) is None:  # most have no such number: nothing to parse
                continue
            told = json.loads(content)
            ids = _values(told) if file.name in VOCABULARIES else _ids(told)
            most = max(ids, default=0)
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ModelError(f"Cannot read {file}: {reason}. Save the tokenizer again.") from error
        if most > MOST:
            raise ModelError(
                f"{file} has the token id {str(most)[:20]}; more than {MOST:,} are not made. Is "
                "the file as its author wrote it?"
            )


def _values(vocabulary: Any) -> Iterator[int]:
    if isinstance(vocabulary, dict):
        yield from (value for value in vocabulary.values() if isinstance(value, int))


def _ids(content: Any) -> Iterator[int]:
    """The ids of a tokenizer.json or of its settings, wherever such files have them."""
    if not isinstance(content, dict):
        return
    model, decoder = content.get("model"), content.get("added_tokens_decoder")
    yield from _values(model.get("vocab") if isinstance(model, dict) else None)
    if isinstance(decoder, dict):
        yield from (int(key[:20]) for key in decoder if key.isdecimal())
    added = content.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            yield token["id"]
