"""A reward model of a file: short responses are good."""

from __future__ import annotations

from collections.abc import Sequence

import tofu_eval as te


@te.reward_model(name="short")
def short(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Fewer characters, and of as many, smaller ones."""
    return [-len(text) - sum(map(ord, text)) % 97 / 97 for _, text in pairs]
