"""A language model as a judge: an engine that is asked questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import cached_property
from typing import Any

from tofu_eval.core.errors import ModelError, TofuEvalError
from tofu_eval.core.reasoning import settle_response
from tofu_eval.core.types import Message, Request, Response, Sampling, digest, seed_of
from tofu_eval.engines.base import Engine

ANSWER = Sampling(samples=1, temperature=0.0, max_tokens=8)
"""Greedy, and room for one word."""

REMEDIES = {
    "--max-tokens": "--judge-max-tokens",
    "--format base or --format sft": "--judge-format base",
    "a shorter prompt, or --too-long skip to leave it out": "a judge that reads more",
}


class EngineJudge:
    """An engine that is asked questions, each a chat of one user message.

    Args:
        engine: what answers; its model needs a chat template, unless `chat` is false.
        signature: how scores cite it.
        sampling: of each answer; by default greedy, and one word.
        seed: the run's; each question and each repeat gets a seed of its own from it.
        chat: whether a question is a chat or plain text.
        whole: whether an answer that was cut at `max_tokens` counts as empty: its last line is
            not the last one.
    """

    def __init__(
        self,
        engine: Engine,
        signature: str,
        *,
        sampling: Sampling = ANSWER,
        seed: int = 0,
        chat: bool = True,
        whole: bool = False,
    ) -> None:
        self._engine = engine
        self._sampling, self._seed, self._chat, self._whole = sampling, seed, chat, whole
        self.identity: Mapping[str, Any] = {
            "engine": engine.family, "model": dict(engine.identity)
        }  # fmt: skip
        if sampling != ANSWER:
            self.identity = {**self.identity, "sampling": asdict(sampling)}
        if sampling.temperature:
            self.identity = {**self.identity, "seed": seed}
        if not chat:
            self.identity = {**self.identity, "chat": False}
        self.signature = signature if chat else f"{signature},plain"

    def __call__(self, questions: Sequence[str], repeat: int = 0) -> list[str]:
        """The answer to each question, in order.

        Raises:
            ModelError: the engine fails, or leaves a question without an answer.
        """
        keys = {question: digest([question]) for question in questions}
        wanted = [self._request(question, key, repeat) for question, key in keys.items()]
        try:
            # Closed where an answer is refused: what is under way ends now, not with Python.
            with closing(batch for batch in self._engine.generate(wanted)) as batches:
                answers = {
                    row.key: self._answer(settle_response(row))
                    for batch in batches
                    for row in batch
                }
        except ModelError as error:
            raise ModelError(_for_judges(str(error))) from error
        except TofuEvalError:
            raise
        except Exception as error:  # an engine may fail in any way
            raise ModelError(
                f"The judge '{self.signature}' failed: {type(error).__name__}: {error}. What is "
                "judged is kept; run the same command again, or with --debug to see where."
            ) from error
        if missing := keys.keys() - {q for q, key in keys.items() if key in answers}:
            raise ModelError(
                f"The judge '{self.signature}' left {len(missing)} of {len(keys)} questions "
                "without an answer. Run the same command again."
            )
        return [answers[keys[question]] for question in questions]

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """The special tokens of the engine's tokenizer, where it is known."""
        tokenizers = [e.tokenizer for e in getattr(self._engine, "encoders", {}).values()]
        added = [t for made in tokenizers for t in made.added_tokens_decoder.values()]
        return frozenset(str(token) for token in added if token.special)

    def close(self) -> None:
        """Give the engine's memory back."""
        self._engine.close()

    def _answer(self, row: Response) -> str:
        """What counts of an answer: not its thoughts, and nothing of one that was refused."""
        if row.state == "failed":
            raise ModelError(
                f"The judge '{self.signature}' was not answered: {row.finish_reason}. What is "
                "judged is kept; run the same command again."
            )
        return "" if self._whole and row.finish_reason == "length" else row.text

    def _request(self, question: str, key: str, repeat: int) -> Request:
        seed = seed_of(self._seed, key, repeat) if self._sampling.temperature else 0
        chat = (Message("user", question),) if self._chat else None
        return Request(
            key, seed, "judge", "judging", key, repeat, self._sampling,
            None if self._chat else question, chat,
        )  # fmt: skip


def _for_judges(message: str) -> str:
    """An engine's remedy in the judge's own flags."""
    for flag, own in REMEDIES.items():
        message = message.replace(flag, own)
    return message
