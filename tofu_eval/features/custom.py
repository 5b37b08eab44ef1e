"""Reward models and judges of anybody: a function under a decorator, found by its name.

    @reward_model(name="brevity", version=1)
    def brevity(pairs: Sequence[tuple[Prompt, str]]) -> Sequence[float]: ...

    @judge(name="strict", version=1)
    def strict(questions: Sequence[str]) -> Sequence[str]: ...

An installed package offers them through the entry points `tofu_eval.reward_models` and
`tofu_eval.judges`; they are asked for with `--reward-model brevity` and `--judge-model strict`.
A function that would answer otherwise gets a new `version`, so that kept rows are made again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import PluginError, TofuEvalError
from tofu_eval.core.registry import Registry, digest_of, origin_of
from tofu_eval.core.types import Prompt
from tofu_eval.features.base import pair_key

Rewards = Callable[[Sequence[tuple[Prompt, str]]], Sequence[float]]
"""Raw rewards of pairs (prompt, response), one each, finite; higher is better."""

Answers = Callable[..., Sequence[str]]
"""An answer to each question, in order. It may take `repeat` (from 0), where the same questions
are asked several times."""

R = TypeVar("R", bound=Rewards)
A = TypeVar("A", bound=Answers)


class CustomReward:
    """The feature "reward" from a function; see `Rewards`."""

    name: str = "reward"

    def __init__(self, name: str, version: int, function: Rewards) -> None:
        self.identity, self.signature = _identity(name, version, function)
        self.truncated = 0
        self._function = function

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt and the text."""
        return pair_key(prompt, text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Raw rewards, (len(pairs), 1); each distinct pair is scored once.

        Raises:
            PluginError: the function fails, or does not give one finite number a pair.
        """
        keys = [self.key(*pair) for pair in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        title = f"The reward model '{self.signature}'"
        found = _call(title, self._function, [*distinct.values()])
        try:
            values = np.asarray(found, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{title} gave something else than numbers: {error}.") from error
        if len(values) != len(distinct) or not np.isfinite(values).all():
            raise PluginError(
                f"{title} gave {len(values)} rewards, "
                f"{int(np.isfinite(values).sum())} of them finite, to {len(distinct)} pairs; "
                "expected one finite number a pair."
            )
        place = {key: i for i, key in enumerate(distinct)}
        rows: NDArray[np.float32] = values[[place[key] for key in keys], None].astype(np.float32)
        return rows


class CustomJudge:
    """A judge from a function; see `Answers` and `equivalence.Judge`."""

    def __init__(self, name: str, version: int, function: Answers) -> None:
        self.identity, self.signature = _identity(name, version, function)
        self._function = function
        self._repeats = "repeat" in inspect.signature(function).parameters

    def __call__(self, questions: Sequence[str], repeat: int = 0) -> list[str]:
        """An answer to each question, in order.

        Raises:
            PluginError: the function fails, or does not give one text a question.
        """
        told = {"repeat": repeat} if self._repeats else {}
        title = f"The judge '{self.signature}'"
        answers = list(_call(title, self._function, list(questions), **told))
        if len(answers) != len(questions) or not all(isinstance(a, str) for a in answers):
            raise PluginError(
                f"{title} gave {len(answers)} answers to {len(questions)} questions; expected "
                "one text a question."
            )
        return answers


REWARD_MODELS: Registry[CustomReward] = Registry(
    "reward model",
    "tofu_eval.features",
    group="tofu_eval.reward_models",
    listing="tofu-eval judges list",
    scan=lambda: None,
)
JUDGES: Registry[CustomJudge] = Registry(
    "judge",
    "tofu_eval.features",
    group="tofu_eval.judges",
    listing="tofu-eval judges list",
    scan=lambda: None,
)


def reward_model(*, name: str, version: int = 1) -> Callable[[R], R]:
    """Register a function from pairs to rewards and return it unchanged."""

    def register(function: R) -> R:
        made = CustomReward(name, version, function)
        REWARD_MODELS.add(name, made, origin_of(function))
        return function

    return register


def judge(*, name: str, version: int = 1) -> Callable[[A], A]:
    """Register a function from questions to answers and return it unchanged."""

    def register(function: A) -> A:
        made = CustomJudge(name, version, function)
        JUDGES.add(name, made, origin_of(function))
        return function

    return register


def _identity(
    name: str, version: int, function: Callable[..., Any]
) -> tuple[Mapping[str, Any], str]:
    """What says which function made a number; one in a user's own file may have been edited."""
    identity = {"kind": "plugin", "name": name, "version": version}
    if file := digest_of(origin_of(function)):
        return {**identity, "file": file}, f"{name}@v{version}:{file}"
    return identity, f"{name}@v{version}"


def _call(title: str, function: Callable[..., Any], *given: Any, **told: Any) -> Any:
    try:
        return function(*given, **told)
    except TofuEvalError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise PluginError(
            f"{title} failed: {type(error).__name__}: {error}. "
            "Use another, or run with --debug to see where."
        ) from error
