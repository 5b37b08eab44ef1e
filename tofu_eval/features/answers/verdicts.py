"""The features "correct" and "answer": what a verifier says of the responses to a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import PluginError, TofuEvalError, UnknownNameError
from tofu_eval.core.types import Group, Report, digest, no_report
from tofu_eval.features.answers.base import VERIFIERS, Verifier
from tofu_eval.features.base import Cache, fill

NO_ANSWER = -1
"""The class of a response without an answer."""

Question = tuple[Verifier, str, str]


class Verdicts:
    """Two features of each group whose task has a verifier and whose prompt has references.

    correct: (n,) floats, 1 where the answer equals a reference, 0 where it does not, NaN where
    there is no answer or it cannot be read.
    answer: (n,) class numbers from 0 in order of first use: responses with the same answer.
    Those that equal the same reference are in one class, the others are compared with the first
    member of each class; -1 where there is no answer.

    Args:
        verifiers: the verifier's name of each task that has one.
        otherwise: the verifier of every other task; None for no verdicts there.
        classes: whether "answer" is wanted; its comparisons cost most.

    Raises:
        UnknownNameError: there is no such verifier.
    """

    name: str = "correct"
    requires: tuple[str, ...] = ()

    def __init__(
        self,
        verifiers: Mapping[str, str],
        otherwise: str | None = None,
        *,
        classes: bool = False,
    ) -> None:
        self._of_task = {task: _verifier_of(task, name) for task, name in verifiers.items()}
        self._otherwise = VERIFIERS.get(otherwise) if otherwise else None
        self._classes = classes
        used = [*self._of_task.values(), *([self._otherwise] if self._otherwise else [])]
        self.signature: str = "+".join(sorted({one.signature for one in used}))
        # Rows are kept by verifier, so that a task more does not throw the others' away.
        self.identity: Mapping[str, Any] = {"kind": "verifiers"}
        self.truncated = 0

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """The verdicts of each group; nothing where it has no verifier or no references.

        Raises:
            PluginError: a verifier fails.
        """
        judged = [
            (group, verifier, _find_answers(verifier, group))
            for group in groups
            if (verifier := self._verifier(group)) is not None and group.prompt.references
        ]
        decisions = self._decide(
            [
                (verifier, answer, reference)
                for group, verifier, answers in judged
                for answer in dict.fromkeys(answers)
                if answer is not None
                for reference in group.prompt.references
            ],
            cache,
            report,
        )
        by_group: dict[int, dict[str, Any]] = {}
        for group, verifier, answers in judged:
            rows = [
                [
                    decisions[verifier.name, answer, reference]
                    for reference in group.prompt.references
                ]
                if answer is not None
                else []
                for answer in answers
            ]
            by_group[id(group)] = {"correct": np.array([_correct(row) for row in rows])}
            if self._classes:
                classes = _Classes(verifier, answers, [_first_hit(row) for row in rows])
                by_group[id(group)]["answer"] = classes
        self._number([m["answer"] for m in by_group.values() if "answer" in m], cache, report)
        return [
            {name: row.labels if isinstance(row, _Classes) else row for name, row in more.items()}
            for more in (by_group.get(id(group), {}) for group in groups)
        ]

    def _verifier(self, group: Group) -> Verifier | None:
        if "correct" in group.features and None not in list(group.features["correct"]):
            return None  # whoever made the responses has said it
        return self._of_task.get(group.task, self._otherwise)

    def _number(self, states: Sequence[_Classes], cache: Cache, report: Report) -> None:
        """Give every answer its class; all groups compare with their next class at once."""
        left = list(states)
        while left := [state for state in left if state.open_next()]:
            asked = [question for state in left for question in state.questions()]
            told = self._decide(asked, cache, report)
            for state in left:
                state.take(told)

    def _decide(
        self, questions: Sequence[Question], cache: Cache, report: Report
    ) -> dict[tuple[str, str, str], float]:
        """1, 0 or NaN for each (verifier, answer, other answer)."""
        by_key = {digest([v.signature, one, other]): (v, one, other) for v, one, other in questions}

        def ask(some: Sequence[str]) -> tuple[NDArray[np.float32], int]:
            values = np.full((len(some), 1), np.nan, dtype=np.float32)
            for verifier in {by_key[key][0].name: by_key[key][0] for key in some}.values():
                mine = [i for i, key in enumerate(some) if by_key[key][0].name == verifier.name]
                values[mine, 0] = _compare_answers(verifier, [by_key[some[i]][1:] for i in mine])
            return values, 0

        fill(cache, by_key, ask, stage="answers", report=report)
        rows = cache.rows(list(by_key))[:, 0].tolist() if by_key else []
        return {
            (v.name, one, other): row
            for (v, one, other), row in zip(by_key.values(), rows, strict=True)
        }


class _Classes:
    """The answers of one group on their way into classes."""

    def __init__(
        self, verifier: Verifier, answers: Sequence[str | None], hits: Sequence[int | None]
    ) -> None:
        self._verifier = verifier
        self._answers = answers
        self._hits = hits
        self.labels = np.full(len(answers), NO_ANSWER, dtype=np.int64)
        self._next = 0
        self._head = ""
        self._asked: list[str] = []

    def open_next(self) -> bool:
        """Open the class of the first answer without one; False where all have theirs."""
        for i, answer in enumerate(self._answers):
            if answer is not None and self.labels[i] == NO_ANSWER:
                break
        else:
            return False
        self._head, hit = self._answers[i] or "", self._hits[i]
        for j, other in enumerate(self._answers):
            same = other == self._head or (hit is not None and self._hits[j] == hit)
            if other is not None and same:
                self.labels[j] = self._next
        # What equals a reference and what equals none are two answers already.
        rest = [
            answer
            for j, answer in enumerate(self._answers)
            if hit is None and self._hits[j] is None and self.labels[j] == NO_ANSWER
            if answer is not None
        ]
        self._asked = list(dict.fromkeys(rest))
        self._next += 1
        return True

    def questions(self) -> list[Question]:
        return [(self._verifier, answer, self._head) for answer in self._asked]

    def take(self, told: Mapping[tuple[str, str, str], float]) -> None:
        for answer in self._asked:
            if told[self._verifier.name, answer, self._head] == 1:
                for j, other in enumerate(self._answers):
                    if other == answer:
                        self.labels[j] = self._next - 1


def _verifier_of(task: str, name: str) -> Verifier:
    try:
        return VERIFIERS.get(name)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"The task '{task}' names no verifier of this installation. {error}. Or name its file: "
            "--verifier FILE.py"
        ) from error


def _find_answers(verifier: Verifier, group: Group) -> list[str | None]:
    try:
        return [verifier.find(group.prompt, text) for text in group.texts]
    except TofuEvalError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise _verifier_error(verifier, f"{type(error).__name__}: {error}") from error


def _compare_answers(verifier: Verifier, pairs: Sequence[tuple[str, str]]) -> list[float]:
    try:
        verdicts = list(verifier.equal(pairs))
    except TofuEvalError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise _verifier_error(verifier, f"{type(error).__name__}: {error}") from error
    if len(verdicts) != len(pairs):
        raise _verifier_error(
            verifier, f"{len(verdicts)} verdicts for {len(pairs)} pairs, expected one each"
        )
    return [float("nan") if verdict is None else float(bool(verdict)) for verdict in verdicts]


def _verifier_error(verifier: Verifier, what: str) -> PluginError:
    return PluginError(
        f"The verifier '{verifier.signature}' failed: {what}. Use another: tofu-eval verifiers list"
    )


def _correct(row: Sequence[float]) -> float:
    """1 where one reference is met, NaN where the answer can be compared with none."""
    if 1 in row:
        return 1.0
    return 0.0 if 0 in row else float("nan")


def _first_hit(row: Sequence[float]) -> int | None:
    return row.index(1) if 1 in row else None
