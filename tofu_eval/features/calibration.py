"""Points for rewards: which raw rewards of one reward model are worth 1 to 10 points.

A raw reward has its model's own scale. Thresholds on it are made from a set of that model's
rewards (`tofu-eval calibrate-reward`), or published with the model (`presets.yaml`); they are
never used for the rewards of another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from tofu_eval.core.config import make_validated, read_yaml
from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.types import Group, Report, digest, no_report
from tofu_eval.features.base import Cache, FeatureModel

LEVELS = 10
"""Points that the best responses get."""

LEAST = 100
"""Fewest responses that thresholds are made from; the ends of fewer are noise."""

WEIGHTS = ("kind", "id", "commit", "files", "name", "version")
"""The parts of a model's identity that say which weights made a number."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds on the raw rewards of one model.

    `thresholds` are nine, ascending; `model` is the identity of the reward model (or as much of
    it as is known), `signature` how scores cite the calibration, `source` where it comes from.
    """

    thresholds: tuple[float, ...]
    model: Mapping[str, Any]
    signature: str
    source: str

    def __post_init__(self) -> None:
        given = self.thresholds
        whole = len(given) == LEVELS - 1 and all(math.isfinite(x) for x in given)
        if not whole or any(a >= b for a, b in pairwise(given)):
            raise DataError(
                f"{self.source}: the thresholds should be {LEVELS - 1} ascending numbers, got "
                f"{list(given)}. Make them: tofu-eval calibrate-reward"
            )

    def points(self, rewards: ArrayLike) -> NDArray[np.float64]:
        """1 to 10 points for each raw reward: one more than there are thresholds below it.

        Args:
            rewards: (n, 1) or (n,) raw rewards.
        Returns: (n,); NaN where a reward is not finite.
        """
        values = np.asarray(rewards, dtype=np.float64).reshape(-1)
        below = np.searchsorted(self.thresholds, values, side="left")
        points: NDArray[np.float64] = below.astype(np.float64) + 1
        points[~np.isfinite(values)] = np.nan
        return points

    def is_of(self, identity: Mapping[str, Any]) -> bool:
        """Whether a reward model is the one that this was made for.

        A directory is known by its files, wherever it lies and whatever it is called.
        """
        weights = {name: self.model[name] for name in WEIGHTS if name in self.model}
        if "files" in weights:
            weights.pop("id", None)
        return bool(weights) and all(identity.get(name) == value for name, value in weights.items())


class RewardLevels:
    """The feature "reward_level": (n,) points from 1 to 10, made from the feature "reward".

    Args:
        calibration: the thresholds.
        reward: the reward model in force; None where the groups bring their rewards.
    """

    name: str = "reward_level"
    requires: tuple[str, ...] = ("reward",)

    def __init__(self, calibration: Calibration, reward: FeatureModel | None) -> None:
        self._calibration = calibration
        self.truncated = 0
        self.identity: Mapping[str, Any] = {
            "thresholds": list(calibration.thresholds),
            "source": calibration.source,
            "reward": dict(reward.identity) if reward else None,
        }
        made_by = f",{reward.signature}" if reward else ""
        self.signature: str = f"{calibration.signature}{made_by}"

    def compute(
        self, groups: Sequence[Group], cache: Cache, report: Report = no_report
    ) -> Sequence[Mapping[str, Any]]:
        """The points of each group's responses; nothing is kept, it costs nothing."""
        return [{self.name: self._calibration.points(g.features["reward"])} for g in groups]


def from_rewards(
    rewards: ArrayLike, model: Mapping[str, Any], signature: str, source: str
) -> Calibration:
    """Thresholds at the deciles of a set of rewards: a tenth of them gets each number of points.

    Args:
        rewards: (n,) raw rewards, n >= 100, one a response.
        model: identity of the reward model.
        signature: its short form.
        source: what the responses are, for messages.

    Raises:
        DataError: too few responses, or so many equal rewards that a number of points is nobody's.
    """
    values = np.asarray(rewards, dtype=np.float64).reshape(-1)
    if len(values) < LEAST:
        raise DataError(
            f"{source} has {len(values)} responses, expected at least {LEAST}: deciles of fewer "
            "are noise. Give more responses, of models and prompts like those to be scored."
        )
    # Midway between two rewards, so that the last bits of a reward do not decide on a point.
    different = np.unique(values)
    upper = np.searchsorted(
        different, np.quantile(values, np.arange(1, LEVELS) / LEVELS), side="right"
    )
    if len(np.unique(upper)) < len(upper) or upper[-1] == len(different):
        raise DataError(
            f"The rewards of {source} take too few values for {LEVELS} levels: {len(different)} "
            f"different ones in {len(values)}, and a tenth or more are equal. Give responses that "
            "differ more."
        )
    thresholds = tuple(float(x) for x in (different[upper - 1] + different[upper]) / 2)
    return Calibration(thresholds, model, cite_calibration(signature, thresholds), source)


def cite_calibration(signature: str, thresholds: Sequence[float]) -> str:
    """How scores cite a calibration: its reward model, and exactly these thresholds."""
    return f"{signature}:{digest(list(thresholds))[:8]}"


@cache
def presets() -> Mapping[str, Calibration | None]:
    """The reward models that are known by name; None for one that has no calibration yet."""
    text = files("tofu_eval.features").joinpath("presets.yaml").read_text(encoding="utf-8")
    return {
        name: _published_calibration(name, preset["calibration"])
        for name, preset in yaml.safe_load(text)["presets"].items()
    }


def _published_calibration(name: str, told: Mapping[str, Any] | None) -> Calibration | None:
    if told is None:
        return None
    model = {"kind": "hub", "id": name}
    return Calibration(tuple(told["thresholds"]), model, told["name"], told["source"])


def in_force(given: Calibration | str | None, reward: FeatureModel | None) -> Calibration:
    """The calibration to use: the user's, or the published one of the reward model.

    Args:
        given: a calibration, the name of a preset, or None.
        reward: the reward model; None where the groups bring their rewards.

    Raises:
        ConfigError: there is none, or it is of another reward model.
    """
    if isinstance(given, str):
        preset = presets().get(given)
        if preset is None:
            names = ", ".join(name for name, made in presets().items() if made)
            raise ConfigError(
                f"There is no calibration called '{given}'. Give a file that tofu-eval "
                f"calibrate-reward has made, or {names}."
            )
        if reward is not None and _copy_of(given, reward.identity):
            return preset
        given = preset
    if reward is None:
        if given is None:
            raise ConfigError(
                "'utility_k' needs to know what a reward is worth: these rewards come without "
                "their model. Name the calibration: reward_calibration=PRESET_OR_FILE"
            )
        return given
    own = next((c for c in presets().values() if c and c.is_of(reward.identity)), None)
    chosen = given or own
    if chosen is None:
        raise ConfigError(
            f"'utility_k' needs a calibration of the reward model '{reward.signature}', which "
            f"has none: its rewards have a scale of their own. {_make(reward)}"
        )
    if not chosen.is_of(reward.identity):
        raise ConfigError(
            f"The calibration {chosen.signature} is of another reward model than "
            f"'{reward.signature}': their rewards have different scales. {_make(reward)}"
        )
    return chosen


def _copy_of(preset: str, identity: Mapping[str, Any]) -> bool:
    """Whether a directory or a server's model is called as the preset's, and its user says so."""
    called = identity.get("id") in (preset, preset.rpartition("/")[2])
    return called and identity.get("kind") in ("local", "server")


def _make(reward: FeatureModel) -> str:
    name = reward.signature.partition("@")[0]
    return (
        f"Make one: tofu-eval calibrate-reward RESPONSES --reward-model {name} --output "
        "calibration.yaml, then add --reward-calibration calibration.yaml"
    )


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
    told = make_validated(CalibrationFile, read_yaml(path, "'thresholds:'"), f"{path}: ")
    signature = cite_calibration(told.signature, told.thresholds)
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
