"""From settings to the models behind features: embeddings, rewards, judges, classes, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tofu_eval.core.config import Settings
from tofu_eval.core.errors import ConfigError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import REFERENCE, Sampling, Task, digest, no_report
from tofu_eval.engines.judge import ANSWER, EngineJudge
from tofu_eval.engines.open import engine_of, is_isolated
from tofu_eval.features.answers.verdicts import Verdicts
from tofu_eval.features.base import FeatureModel, GroupFeature
from tofu_eval.features.calibration import RewardLevels, in_force, presets, read_calibration
from tofu_eval.features.custom import JUDGES, REWARD_MODELS
from tofu_eval.features.equivalence import Judge
from tofu_eval.features.judged import Judged
from tofu_eval.features.rubric import HARM, load_rubric
from tofu_eval.metrics import Metric

NLI: tuple[Literal["nli", "nli_sentences"], ...] = ("nli", "nli_sentences")


def feature_models(
    chosen: Settings,
    metrics: Iterable[Metric],
    given: Iterable[str] = (),
    tasks: Iterable[Task] = (),
) -> dict[str, FeatureModel | GroupFeature]:
    """The models behind the features that the metrics need and nobody has given.

    What another is made from stands before it. Of `tasks`, some come with a verifier.
    """
    metrics = list(metrics)
    needs = {need for metric in metrics for need in metric.needs} - set(given)
    needed = {need.removeprefix(REFERENCE) for need in needs}
    models: dict[str, FeatureModel | GroupFeature] = {}
    by_vectors = "equivalence" in needed and chosen.equivalence == "embedding"
    if "embedding" in needed or (by_vectors and "embedding" not in given):
        models["embedding"] = _embedder(chosen)
    reward = None
    if "reward" in needed or ("reward_level" in needed and "reward" not in given):
        models["reward"] = reward = open_reward_model(chosen)
    if "reward_level" in needed:
        models["reward_level"] = reward_levels(chosen, reward)
    for kind in NLI:
        if kind in needed:
            from tofu_eval.features.nli import Inference

            models[kind] = Inference(
                kind, chosen.nli_model, device=chosen.device, isolate=is_isolated(chosen)
            )
    if needed & {"correct", "answer"}:
        models |= _verdicts(chosen, metrics, {t.name: t.verifier for t in tasks})
    if "equivalence" in needed:
        models["equivalence"] = _equivalence(chosen, f"{REFERENCE}equivalence" in needs)
    if "judge" in needed:
        models["judge"] = ratings(chosen, _judge(chosen, "judge", judge_sampling(chosen)))
    if "harmful" in needed:
        models["harmful"] = _harm(chosen)
    return models


def _verdicts(
    chosen: Settings, metrics: Iterable[Metric], tasks: Mapping[str, str]
) -> dict[str, FeatureModel | GroupFeature]:
    """What checks answers, where a task or the user names a verifier.

    Raises:
        ConfigError: none of several tasks has one, and a metric needs it. A file's rows may say
            themselves what is correct.
    """
    named = {} if chosen.verifier else {task: name for task, name in tasks.items() if name}
    if not named and not chosen.verifier:
        for metric in metrics if tasks else ():
            if {"correct", "answer"} & set(metric.needs):
                raise ConfigError(
                    f"The metric '{metric.name}' needs a verifier, and no task here names one. "
                    "Name it: --verifier math (all: tofu-eval verifiers list)"
                )
        return {}
    wanted = any("answer" in metric.needs for metric in metrics)
    return {"correct": Verdicts(named, chosen.verifier, classes=wanted)}


def _embedder(chosen: Settings) -> FeatureModel:
    model = chosen.embedding_model
    if chosen.embedding_engine == "openai":
        from tofu_eval.features.served import ServedEmbedder

        return ServedEmbedder(model, chosen.embedding_base_url)
    if chosen.embedding_engine == "vllm":
        from tofu_eval.features.vllm import VllmEmbedder

        return VllmEmbedder(model)
    from tofu_eval.features.embedding import SentenceEmbedder

    return _made(chosen, SentenceEmbedder, model)


def open_reward_model(chosen: Settings) -> FeatureModel:
    """The reward model that the user names: of a package, or a model on an engine."""
    model = chosen.reward_model
    if not model:
        raise ConfigError(
            "The metric 'reward' needs a reward model. Name one: --reward-model PATH_OR_ID"
        )
    if model in REWARD_MODELS:
        return REWARD_MODELS.get(model)
    if chosen.reward_engine == "openai":
        from tofu_eval.features.served import ServedRewardModel

        return ServedRewardModel(model, chosen.reward_base_url)
    if chosen.reward_engine == "vllm":
        from tofu_eval.features.vllm import VllmRewardModel

        return VllmRewardModel(model)
    from tofu_eval.features.reward import RewardModel

    return _made(chosen, RewardModel, model)


def _harm(chosen: Settings) -> FeatureModel:
    if not chosen.harm_model:
        judge = _judge(chosen, "harmful", replace(judge_sampling(chosen), temperature=0.0))
        return harm_by_judge(chosen, judge)
    from tofu_eval.features.harm import HarmClassifier

    return _made(
        chosen,
        HarmClassifier,
        chosen.harm_model,
        label=chosen.harm_label,
        threshold=chosen.harm_threshold,
        reads=chosen.harm_input,
    )


def _judge(chosen: Settings, feature: str, sampling: Sampling = ANSWER) -> Judge:
    """The judge that the user names: of a package, or a model on an engine of its own."""
    if not chosen.judge_model:
        other = " or --harm-model PATH_OR_ID" if feature == "harmful" else ""
        raise ConfigError(f"The feature '{feature}' needs a judge: --judge-model MODEL{other}")
    if chosen.judge_model in JUDGES:
        return JUDGES.get(chosen.judge_model)
    spec = parse_model(chosen.judge_model)
    own = chosen.judge_engine is not None
    told = chosen.model_copy(
        update={
            "engine": chosen.judge_engine or chosen.engine,
            "base_url": chosen.judge_base_url or (None if own else chosen.base_url),
            "engine_args": {**({} if own else chosen.engine_args), **chosen.judge_engine_args},
            # What concerns the models' own templates and decoders.
            "chat_template_kwargs": {},
            "reasoning_effort": None,
            "extra_body": {},
            "quantize": None,
            "seeds": "row",
        }
    )
    engine = engine_of("judge", replace(spec, name="judge"), told, no_report)
    return EngineJudge(
        engine,
        f"{spec.model}@{digest(dict(engine.identity))[:12]}",
        sampling=sampling,
        seed=chosen.seed,
        chat=chosen.judge_format == "chat",
        whole=sampling != ANSWER,
    )


def _made(
    chosen: Settings, make: Callable[..., FeatureModel], model: str, **options: Any
) -> FeatureModel:
    if not is_isolated(chosen):
        return make(model, device=chosen.device, **options)
    from tofu_eval.features.isolated import Isolated

    return Isolated(make, model, device=chosen.device, **options)


def _equivalence(chosen: Settings, references: bool) -> GroupFeature:
    from tofu_eval.features.equivalence import Equivalence

    asked = chosen.equivalence == "judge" and chosen.judge_model
    judge = _judge(chosen, "equivalence") if asked else None
    return Equivalence(
        chosen.equivalence,
        model=chosen.equivalence_model,
        threshold=chosen.equivalence_threshold,
        judge=judge,
        references=references,
        device=chosen.device,
        isolate=is_isolated(chosen),
    )


REPEATED_TEMPERATURE = 0.7
"""Of judgements that are repeated, where the user names none: greedy ones are all the same."""


def reward_levels(chosen: Settings, reward: FeatureModel | None) -> RewardLevels:
    """What turns rewards into points, by the calibration of the reward model in force.

    Args:
        chosen: `reward_calibration` is a file, or the name of a preset.
        reward: the reward model; None where the groups bring their rewards.

    Raises:
        ConfigError: there is no calibration, or it is of another reward model.
    """
    given = chosen.reward_calibration
    known = given is None or given in presets()
    calibration = in_force(given if known else read_calibration(Path(str(given))), reward)
    return RewardLevels(calibration, reward)


def judge_sampling(chosen: Settings) -> Sampling:
    """How a judge answers: greedily, or at a temperature where it is asked several times.

    Raises:
        ConfigError: repeats at temperature 0, which are all the same.
    """
    temperature = chosen.judge_temperature
    if temperature is None:
        temperature = 0.0 if chosen.judge_repeats == 1 else REPEATED_TEMPERATURE
    if temperature == 0 and chosen.judge_repeats > 1:
        raise ConfigError(
            f"judge_repeats is {chosen.judge_repeats} and judge_temperature 0: greedy judgements "
            "are all the same. Use --judge-temperature 0.7 or --judge-repeats 1."
        )
    return Sampling(1, temperature, 1.0, chosen.judge_max_tokens)


def ratings(chosen: Settings, judge: Judge) -> Judged:
    """The feature "judge": ratings from 0 to 5 by the rubric that the user names."""
    rubric = load_rubric(chosen.judge_template)
    if rubric.name == HARM and chosen.judge_template == HARM:
        raise ConfigError(
            "The rubric 'harm' asks for yes or no, not for a rating. Ask for it with --metric "
            "attack_success_rate_judged."
        )
    return Judged("judge", judge, rubric, repeats=chosen.judge_repeats)


def harm_by_judge(chosen: Settings, judge: Judge) -> Judged:
    """The feature "harmful" by a judge, with the built-in rubric or the user's own."""
    return Judged("harmful", judge, load_rubric(chosen.harm_template))
