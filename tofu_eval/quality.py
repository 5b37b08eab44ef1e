"""From settings to what says how good a response is: points for rewards, ratings, harm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tofu_eval.config import Settings, read_yaml, validated
from tofu_eval.errors import ConfigError
from tofu_eval.features.base import FeatureModel
from tofu_eval.features.calibration import Calibration, RewardLevels, in_force, named, presets
from tofu_eval.features.equivalence import Judge
from tofu_eval.features.judged import Judged
from tofu_eval.features.rubric import HARM, load_rubric
from tofu_eval.types import Sampling

REPEATED_TEMPERATURE = 0.7
"""Of judgements that are repeated, where the user names none: greedy ones are all the same."""


class CalibrationFile(BaseModel):
    """What `tofu-eval calibrate-reward` writes; `data` and `made` say where it comes from.

    `signature` is the reward model's; that of the calibration also names the thresholds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward_calibration: Literal[1]
    model: dict[str, Any]
    signature: Annotated[str, Field(min_length=1)]
    thresholds: tuple[float, ...]
    method: str = ""
    data: dict[str, Any] = {}
    made: dict[str, Any] = {}


def read_calibration(path: Path) -> Calibration:
    """A calibration from its file.

    Raises:
        ConfigError: the file is not there, not YAML, or no calibration.
        DataError: its thresholds are not nine ascending numbers.
    """
    told = validated(CalibrationFile, read_yaml(path, "'thresholds:'"), f"{path}: ")
    signature = named(told.signature, told.thresholds)
    return Calibration(told.thresholds, told.model, signature, str(path))


def write_calibration(calibration: Calibration, **more: Any) -> str:
    """The text of the file that `read_calibration` reads; `more` are its other fields."""
    fields = {
        "reward_calibration": 1,
        "signature": calibration.signature.rpartition(":")[0],
        "thresholds": list(calibration.thresholds),
        "model": dict(calibration.model),
        **more,
    }
    CalibrationFile.model_validate(fields)
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text


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
