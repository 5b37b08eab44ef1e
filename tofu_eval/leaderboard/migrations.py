"""Boards of older versions, brought to the current one step by step.

No version was published before the current one, so there is no step yet. One is added with the
version that needs it: the schema that its boards are held against, and what makes a board of the
version after from one that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Migration:
    """A version that is still read: its schema, and the step to the next version."""

    schema: Mapping[str, Any]
    step: Callable[[Json], Json]


MIGRATIONS: dict[int, Migration] = {}
"""By the version that a step starts from."""


def migrate(board: Json, *, to: int) -> Json:
    """A valid board of an older version as one of version `to`."""
    while board["schema_version"] != to:
        board = MIGRATIONS[board["schema_version"]].step(board)
    return board
