"""The features "correct" and "answer": what a verifier says of the responses to a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import GroupFeature, Opening, feature

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry


def _verifiers() -> Registry[Any]:
    from tofu_eval.features.answers import VERIFIERS

    return VERIFIERS


@section("verifier", title="Answers")
class VerifierSettings:
    """What checks answers."""

    name: str | None = setting(
        None,
        flag="--verifier",
        metavar="NAME",
        registry=_verifiers,
        help="What checks answers: math, choice, text, … or a Python file with one. Default: the "
        "task's own",
    )


@feature(name="correct", level="group", makes=("answer",), settings=(VerifierSettings,))
def open_verdicts(opening: Opening) -> GroupFeature | None:
    """correct: (n,) verdicts, 1, 0 or NaN (unreadable); answer: (n,) classes, -1 for none."""
    named = opening.settings(VerifierSettings).name
    of_tasks = {} if named else {t: v for t, v in (opening.verifiers or {}).items() if v}
    if not named and not of_tasks:
        if opening.verifiers:
            raise ConfigError(
                "The feature 'correct' needs a verifier, and no task here names one. "
                "Name it: --verifier math (all: tofu-eval verifiers list)"
            )
        return None  # a file's rows may say themselves what is correct
    from tofu_eval.features.answers.verdicts import Verdicts

    return Verdicts(of_tasks, named, classes="answer" in opening.needs)
