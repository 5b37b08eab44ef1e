"""Features that a file of responses brings: published classes and points, rewards of a trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tofu_eval.core.types import Group, Report
from tofu_eval.features.base import Cache


class GivenFeature:
    """A feature that the groups have from their file, so that no model is asked.

    Args:
        name: the word in `needs`.
    """

    requires: tuple[str, ...] = ()
    signature = "file"
    identity: Mapping[str, Any] = {"kind": "file"}
    truncated = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report
    ) -> Sequence[Mapping[str, Any]]:
        """The same values in the shape that metrics want: classes whole, ratings in a column."""
        return [
            {self.name: self._reshape(group.features[self.name])}
            if self.name in group.features
            else {}
            for group in groups
        ]

    def _reshape(self, values: Any) -> Any:
        numbers = np.asarray(values, dtype=np.float64)
        if self.name == "equivalence":
            return numbers.astype(np.int64)
        return numbers.reshape(-1, 1) if self.name in ("judge", "reward") else numbers
