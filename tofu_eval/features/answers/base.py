"""The registry of verifiers: what finds an answer, and what compares two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tofu_eval.core.registry import Registry, digest_of, origin_of
from tofu_eval.core.types import Prompt

Find = Callable[[Prompt, str], str | None]
"""The final answer in a response to a prompt, as text; None where there is none."""

Equal = Callable[[Sequence[tuple[str, str]]], Sequence[bool | None]]
"""For each pair (answer, reference) or (answer, another answer) whether they are the same; None
where the first cannot be read."""

F = TypeVar("F", bound=Find)


@dataclass(frozen=True)
class Verifier:
    """Finds an answer and compares it; a change of what it says is a new `version`."""

    name: str
    version: int
    find: Find
    equal: Equal

    @property
    def signature(self) -> str:
        """Name and version; of one in a user's own file, also which file."""
        file = digest_of(origin_of(self.find))
        return f"{self.name}@v{self.version}" + (f":{file}" if file else "")


VERIFIERS: Registry[Verifier] = Registry(
    "verifier",
    "tofu_eval.features.answers",
    group="tofu_eval.verifiers",
    listing="tofu-eval verifiers list",
)


def equal_texts(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Whether two texts are the same but for white space at their ends."""
    return [one.strip() == other.strip() for one, other in pairs]


def verifier(*, name: str, version: int = 1, equal: Equal = equal_texts) -> Callable[[F], F]:
    """Register a function that finds the answer in a response, and return it unchanged.

    Args:
        name: what a task says.
        version: goes up with every change of what it finds or compares, so that a run's kept
            verdicts are made again.
        equal: compares; it may be asked the same question again.
    """

    def register(find: F) -> F:
        VERIFIERS.add(name, Verifier(name, version, find, equal), origin_of(find))
        return find

    return register
