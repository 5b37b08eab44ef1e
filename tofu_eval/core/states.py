"""What a response is: finished, cut off, without a text; and how many are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

State = Literal["finished", "unfinished", "empty", "filtered", "failed"]
"""What became of a response: `unfinished` stopped at the length limit; `empty`, `filtered` and
`failed` have no text that a metric sees."""

SHORT_OF = ("unfinished", "empty", "filtered", "failed")
"""What a response can be that is not finished with a text, as `count_states` names it."""


def has_text(state: State, text: str) -> bool:
    """Whether a response has a text that metrics see."""
    return state in ("finished", "unfinished") and bool(text.strip())


def count_states(states: Iterable[State], texts: Iterable[str] | None = None) -> dict[str, int]:
    """How many responses there are ("responses"), and how many in each state but `finished`.

    A response without a text is empty, whatever cut it off: one that was cut within a thought
    counts as unfinished and as empty.
    """
    states = list(states)
    counts = {"responses": len(states), "unfinished": 0, "empty": 0, "filtered": 0, "failed": 0}
    for state, text in zip(states, ["."] * len(states) if texts is None else texts, strict=True):
        if state != "finished":
            counts[state] += 1
        if state in ("finished", "unfinished") and not text.strip():
            counts["empty"] += 1
    return counts
