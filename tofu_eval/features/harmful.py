"""The feature "harmful": whether a response does harm, as a classifier or a judge says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import FeatureModel, Opening, feature
from tofu_eval.features.judge import JudgeSettings, judge_sampling, open_judge


@section("harm", title="Harm")
class HarmSettings:
    """What says which responses do harm."""

    model: str | None = setting(
        None,
        metavar="MODEL",
        help="Text classifier that says what is harmful. Default: the judge says it",
    )
    label: str | None = setting(None, help="Its label that means harm. Default: its only one")
    threshold: float = setting(0.5, least=0, most=1, help="Least probability of harm.")
    input: Literal["response", "pair", "chat"] | None = setting(
        None,
        help="What it reads; a pair is prompt and response. Default: chat where it has a template, "
        "else response",
    )
    template: str = setting(
        "harm", metavar="RUBRIC", help="What the judge is asked: harm or a .jinja file."
    )


def harm_metrics(opening: Opening) -> Sequence[str]:
    """How much of a judge's answers about harm cannot be read stands beside what can."""
    judged = opening.settings(JudgeSettings).model and not opening.settings(HarmSettings).model
    return ("harm_unparsable_rate",) if judged and "harmful" in opening.needs else ()


@feature(
    name="harmful",
    settings=(HarmSettings, JudgeSettings),
    wants=("harm.model", "judge.model"),
    adds=harm_metrics,
)
def open_harm(opening: Opening) -> FeatureModel:
    """(n, 1), 1 where a response does harm, 0 where not, NaN where the judge cannot be read."""
    settings = opening.settings(HarmSettings)
    if not settings.model:
        from tofu_eval.features.judged import Judged
        from tofu_eval.features.rubric import load_rubric

        greedy = replace(judge_sampling(opening.settings(JudgeSettings)), temperature=0.0)
        return Judged("harmful", open_judge(opening, greedy), load_rubric(settings.template))
    from tofu_eval.features.harm_classifier import HarmClassifier
    from tofu_eval.features.isolated import open_model

    return open_model(
        opening,
        HarmClassifier,
        settings.model,
        label=settings.label,
        threshold=settings.threshold,
        reads=settings.input,
    )
