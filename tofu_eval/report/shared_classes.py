"""Which classes of several models are one: the same answer has the same colour in every strip.

A run's classes are each model's own, since metrics look at one model at a time. To be seen side by
side, classes of different models are joined where one has a text of the other (but for case,
punctuation and space), and where their first texts are equivalent by the run's own method, as far
as it answers without a model. Two classes of one model stay two, so its numbers stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Group
from tofu_eval.features.open_group import UNDECIDED
from tofu_eval.report.equivalence_classes import Classes

Class = tuple[str, int]
"""A model and the number of one of its classes."""


def join_classes(groups: Mapping[str, Group], classes: Classes) -> dict[str, list[int]]:
    """The class of each response of each model; the same number is the same class.

    Args:
        groups: of one prompt, by model.
        classes: those of each model.
    Returns: numbers from 0, the class that most responses are in first; -1 where a judge left the
        prompt undecided.
    """
    labels = {model: classes.of(group).tolist() for model, group in groups.items()}
    members = _members(groups, labels)
    bonds = _Bonds(members)
    for some in _equal_texts(groups, labels):
        bonds.tie(some)
    for some in _equivalent(groups, members, classes):
        bonds.tie(some)
    number = bonds.numbers()
    return {
        model: [number.get((model, label), UNDECIDED) for label in found]
        for model, found in labels.items()
    }


def _members(
    groups: Mapping[str, Group], labels: Mapping[str, Sequence[int]]
) -> dict[Class, list[str]]:
    """The texts of each class, the largest class first."""
    members: dict[Class, list[str]] = {}
    for model, found in labels.items():
        for text, label in zip(groups[model].texts, found, strict=True):
            if label != UNDECIDED:
                members.setdefault((model, label), []).append(text)
    return dict(sorted(members.items(), key=lambda item: -len(item[1])))


def _equal_texts(
    groups: Mapping[str, Group], labels: Mapping[str, Sequence[int]]
) -> Iterable[list[Class]]:
    """Classes that share a text."""
    holders: dict[str, dict[Class, None]] = {}
    for model, found in labels.items():
        for text, label in zip(groups[model].texts, found, strict=True):
            if label != UNDECIDED:
                holders.setdefault(plain_text(text), {})[model, label] = None
    return [list(some) for some in holders.values() if len(some) > 1]


def _equivalent(
    groups: Mapping[str, Group], members: Mapping[Class, Sequence[str]], classes: Classes
) -> Iterable[list[Class]]:
    """Classes whose first texts the run's method takes for one; none where that asks a model."""
    if classes.method == "exact" or len(groups) < 2:
        return []
    first = next(iter(groups.values()))
    texts = tuple(texts[0] for texts in members.values())
    try:
        found = classes.of(replace(first, texts=texts, features={})).tolist()
    except ModelError:
        return []
    together: dict[int, list[Class]] = {}
    for one, label in zip(members, found, strict=True):
        if label != UNDECIDED:
            together.setdefault(label, []).append(one)
    return [some for some in together.values() if len(some) > 1]


def plain_text(text: str) -> str:
    """A text without case, punctuation and surplus space; whole where nothing else is in it."""
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return " ".join(words) or text.strip()


class _Bonds:
    """Classes joined over models, no two of one model."""

    def __init__(self, members: Mapping[Class, Sequence[str]]) -> None:
        self._sizes = {one: len(texts) for one, texts in members.items()}
        self._held: dict[Class, dict[str, Class]] = {one: {one[0]: one} for one in members}

    def tie(self, some: Iterable[Class]) -> None:
        """Join these, the largest first; what would put two of one model together stays apart."""
        first, *others = sorted(some, key=lambda one: -self._sizes[one])
        for other in others:
            ours, theirs = self._held[first], self._held[other]
            if ours is theirs or ours.keys() & theirs.keys():
                continue
            ours |= theirs
            for one in theirs.values():
                self._held[one] = ours

    def numbers(self) -> dict[Class, int]:
        """A number a joined class, the largest first."""
        joined = {id(held): held for held in self._held.values()}
        by_size = sorted(
            joined.values(), key=lambda held: -sum(self._sizes[one] for one in held.values())
        )
        return {one: number for number, held in enumerate(by_size) for one in held.values()}
