"""The feature "judge": ratings of each response by a language model, or by a package's judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import FeatureModel, Opening, feature

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry
    from tofu_eval.core.types import Sampling
    from tofu_eval.features.equivalence import Judge

REPEATED_TEMPERATURE = 0.7
"""Of judgements that are repeated, where the user names none: greedy ones are all the same."""


def _judges() -> Registry[Any]:
    from tofu_eval.features.custom import JUDGES

    return JUDGES


@section("judge", title="Judge")
class JudgeSettings:
    """Who is asked how good a response is, and how."""

    model: str | None = setting(
        None,
        metavar="MODEL",
        registry=_judges,
        help="Chat model, judge of a package, or Python file with one, that rates responses from "
        "0 to 5; also for --equivalence judge.",
    )
    template: str = setting(
        "instruction", metavar="RUBRIC", help="instruction, story or a .jinja file."
    )
    total_template: str = setting(
        "total",
        metavar="RUBRIC",
        help="What is asked for judge_rating@2605.00195: total or a .jinja file.",
    )
    repeats: int = setting(1, least=1, help="Judgements of each response.")
    temperature: float | None = setting(
        None, least=0, help="Default: 0; 0.7 where judgements are repeated"
    )
    max_tokens: int = setting(512, least=1, help="Longest judgement.")
    format: Literal["chat", "base"] = setting("chat", help="A chat, or plain text.")
    engine: str | None = setting(
        None, help="As --engine, for the judge. Default: that of the models"
    )
    engine_args: Mapping[str, Any] | None = setting(
        None,
        flag="--judge-engine-arg",
        metavar="NAME=VALUE",
        help="An argument for the judge's engine; repeatable.",
    )
    base_url: str | None = setting(
        None, metavar="URL", help="Where the judge's server is. Default: that of the models"
    )


def judge_metrics(opening: Opening) -> Sequence[str]:
    """The metrics of a judge that the user names; one named for something else rates nothing."""
    settings = opening.settings(JudgeSettings)
    if not settings.model or ("judge" not in opening.needs and _judges_elsewhere(opening)):
        return ()
    agreement = ("judge_agreement", "judge_exact_agreement") if settings.repeats > 1 else ()
    return ("judge_rating", "judge_unparsable_rate", *agreement)


def _judges_elsewhere(opening: Opening) -> bool:
    """Whether the judge is there for a total rating, for what is equivalent, or what does harm."""
    from tofu_eval.features.equivalence import EquivalenceSettings
    from tofu_eval.features.harmful import HarmSettings

    asked_of_harm = "harmful" in opening.needs and not opening.settings(HarmSettings).model
    equivalent = opening.settings(EquivalenceSettings).method == "judge"
    return "judge_total" in opening.needs or equivalent or asked_of_harm


@feature(name="judge", settings=(JudgeSettings,), wants=("judge.model",), adds=judge_metrics)
def open_ratings(opening: Opening) -> FeatureModel:
    """(n, repeats) ratings from 0 to 5, NaN where an answer cannot be read."""
    from tofu_eval.features.judged import Judged
    from tofu_eval.features.rubric import HARM, load_rubric

    settings = opening.settings(JudgeSettings)
    rubric = load_rubric(settings.template)
    if rubric.name == HARM and settings.template == HARM:
        raise ConfigError(
            "The rubric 'harm' asks for yes or no, not for a rating. Ask for it with --metric "
            "attack_success_rate_judged."
        )
    judge = open_judge(opening, judge_sampling(settings))
    return Judged("judge", judge, rubric, repeats=settings.repeats)


@feature(name="judge_total", settings=(JudgeSettings,), wants=("judge.model",))
def open_total_ratings(opening: Opening) -> FeatureModel:
    """(n, repeats) total ratings from 0 to 5, NaN where an answer has none."""
    from tofu_eval.features.judged import Judged
    from tofu_eval.features.rubric import load_rubric

    own = opening.settings(JudgeSettings)
    judge = open_judge(opening, judge_sampling(own))
    rubric = load_rubric(own.total_template)
    return Judged("judge_total", judge, rubric, repeats=own.repeats)


def judge_sampling(own: JudgeSettings) -> Sampling:
    """How a judge answers: greedily, or at a temperature where it is asked several times.

    Raises:
        ConfigError: repeats at temperature 0, which are all the same.
    """
    from tofu_eval.core.types import Sampling

    temperature = own.temperature
    if temperature is None:
        temperature = 0.0 if own.repeats == 1 else REPEATED_TEMPERATURE
    if temperature == 0 and own.repeats > 1:
        raise ConfigError(
            f"judge.repeats is {own.repeats} and judge.temperature 0: greedy judgements are all "
            "the same. Use --judge-temperature 0.7 or --judge-repeats 1."
        )
    return Sampling(1, temperature, 1.0, own.max_tokens)


def open_judge(opening: Opening, sampling: Sampling | None = None) -> Judge:
    """The judge that the user names: of a package, or a model on an engine of its own.

    Without a `sampling` it answers in one word.
    """
    settings = opening.settings(JudgeSettings)
    model, registered = str(settings.model), _judges()
    if model in registered:
        named: Judge = registered.get(model)
        return named
    from tofu_eval.core.models import parse_model
    from tofu_eval.core.types import digest, no_report
    from tofu_eval.engines.judge import ANSWER, EngineJudge
    from tofu_eval.engines.open import engine_of

    spec, chosen = parse_model(model), opening.chosen
    apart = settings.engine is not None
    changes = {
        "engine": settings.engine or chosen.engine,
        "base_url": settings.base_url or (None if apart else chosen.base_url),
        "engine_args": {**({} if apart else chosen.engine_args), **(settings.engine_args or {})},
        # What concerns the models' own templates and decoders.
        "chat_template_kwargs": {},
        "reasoning_effort": None,
        "extra_body": {},
        "quantize": None,
        "seeds": "row",
    }
    asked = chosen.model_copy(update=changes)
    engine = engine_of("judge", replace(spec, name="judge"), asked, no_report)
    return EngineJudge(
        engine,
        f"{spec.model}@{digest(dict(engine.identity))[:12]}",
        sampling=sampling or ANSWER,
        seed=chosen.seed,
        chat=settings.format == "chat",
        whole=sampling is not None,
    )
