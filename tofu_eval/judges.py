"""A language model as a judge: an engine that answers yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.engines.base import Engine
from tofu_eval.types import Message, Request, Sampling, digest

ANSWER = Sampling(samples=1, temperature=0.0, max_tokens=8)
"""Greedy, and room for one word."""


class EngineJudge:
    """An engine that is asked questions, each a chat of one user message.

    Args:
        engine: what answers; its model needs a chat template.
        signature: how scores cite it.
    """

    def __init__(self, engine: Engine, signature: str) -> None:
        self._engine = engine
        self.identity: Mapping[str, Any] = {
            "engine": engine.family, "model": dict(engine.identity)
        }  # fmt: skip
        self.signature = signature

    def __call__(self, questions: Sequence[str]) -> list[str]:
        """The answer to each question, in order; greedy.

        Raises:
            ModelError: the engine fails.
        """
        keys = {question: digest([question]) for question in questions}
        wanted = [
            Request(
                key, 0, "judge", "equivalence", key, 0, ANSWER, None, (Message("user", question),)
            )
            for question, key in keys.items()
        ]
        answers = {row.key: row.text for batch in self._engine.generate(wanted) for row in batch}
        return [answers[keys[question]] for question in questions]

    def close(self) -> None:
        """Give the engine's memory back."""
        self._engine.close()
