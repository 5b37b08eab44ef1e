"""What a feature model is: whatever costs a model to compute, once per text, kept in the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.types import Group, Prompt, Report, digest

CHUNK = 512
"""Rows that are computed and saved together: what a crash can cost."""


def pair_key(prompt: Prompt, text: str) -> str:
    """Hex digest of a prompt's messages and a response: what most rows depend on."""
    return digest([[[m.role, m.content] for m in prompt.messages], text])


class FeatureModel(Protocol):
    """A model that turns (prompt, response) pairs into rows of numbers.

    `name` is the word that metrics use in `needs` ("embedding", "reward"); `identity` says
    exactly which weights made the numbers; `signature` is its short form, cited with a score.
    `truncated` counts the texts, of those computed so far, that were too long for the model.
    """

    name: str
    identity: Mapping[str, Any]
    signature: str
    truncated: int

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of what the row depends on; pairs with equal keys are computed once."""
        ...

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """One row a pair, (len(pairs), width)."""
        ...


class Cache(Protocol):
    """Rows of numbers by key, kept in the run; `store.FeatureCache` is one."""

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The distinct keys that have no row yet, in their order."""
        ...

    def add(self, keys: Sequence[str], rows: NDArray[np.float32], truncated: int = 0) -> None:
        """Keep new rows, (len(keys), width)."""
        ...

    def rows(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """The rows of `keys`, (len(keys), width); all must be there."""
        ...


@runtime_checkable
class GroupFeature(Protocol):
    """What can only be said of the responses to a prompt together, such as which are equivalent.

    `name` is the word in `needs`; `requires` names the features that it is made from, which the
    groups then have. The other fields are those of a FeatureModel.
    """

    name: str
    requires: tuple[str, ...]
    identity: Mapping[str, Any]
    signature: str
    truncated: int

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report
    ) -> Sequence[Mapping[str, Any]]:
        """The new features of each group, by name (one row a text, or `reference_…`).

        What costs a model goes through `cache` (see `fill`), so that a resumed run does not pay
        again.
        """
        ...


def fill(
    cache: Cache,
    keys: Iterable[str],
    compute: Callable[[Sequence[str]], tuple[NDArray[np.float32], int]],
    *,
    stage: str,
    report: Report,
) -> None:
    """Compute the rows that `cache` lacks, some hundreds at a time, and save each lot at once.

    `compute` gives the rows of some keys, and how many of them stand on a text that was cut;
    `stage` is what `report` calls the work.
    """
    missing = cache.missing(keys)
    for start in range(0, len(missing), CHUNK):
        report(stage, start, len(missing))
        chunk = missing[start : start + CHUNK]
        cache.add(chunk, *compute(chunk))
    if missing:
        report(stage, len(missing), len(missing))
