from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError, DataError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.calibration import (
    Calibration,
    RewardLevels,
    from_rewards,
    in_force,
    presets,
)
from tofu_eval.run.feature_cache import FeatureCache

SKYWORK = "Skywork/Skywork-Reward-Gemma-2-27B-v0.2"
SMALLER = "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"
NINE = tuple(float(x) for x in range(1, 10))


class Reward:
    name = "reward"
    truncated = 0

    def __init__(self, **identity: Any) -> None:
        self.identity: Mapping[str, Any] = identity
        self.signature = f"{identity.get('id', 'x')}@abc"

    def key(self, prompt: Prompt, text: str) -> str:
        return text

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        raise NotImplementedError


GEMMA = Reward(kind="hub", id=SKYWORK, commit="a" * 40, input="chat", engine="vllm")
LLAMA = Reward(kind="hub", id=SMALLER, commit="b" * 40, input="chat")
MINE = Reward(kind="local", id="mine", files={"model.safetensors": "12"})


def test_points_at_the_published_thresholds() -> None:
    """bisect_left + 1, as score.py of NoveltyBench: a reward at a threshold is not above it."""
    made = presets()[SKYWORK]
    assert made is not None
    assert made.points(np.array(made.thresholds)).tolist() == list(range(1, 10))
    above = np.nextafter(made.thresholds, np.inf)
    assert made.points(above).tolist() == list(range(2, 11))
    assert made.points([[-100.0], [100.0]]).tolist() == [1, 10]
    assert made.points(np.array([np.nan, np.inf, -np.inf], np.float32)) == pytest.approx(
        [np.nan] * 3, nan_ok=True
    )


def test_the_presets() -> None:
    assert in_force(None, GEMMA) is presets()[SKYWORK]
    assert "arXiv:2504.05228" in presets()[SKYWORK].source  # type: ignore[union-attr]
    assert presets()[SMALLER] is None


def test_a_model_without_a_calibration_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        in_force(None, LLAMA)
    assert str(caught.value) == (
        f"'utility_k' needs a calibration of the reward model '{SMALLER}@abc', which has none: "
        "its rewards have a scale of their own. Make one: tofu-eval calibrate-reward RESPONSES "
        f"--reward-model {SMALLER} --output calibration.yaml, then add --reward-calibration "
        "calibration.yaml"
    )


@pytest.mark.parametrize("reward", [LLAMA, MINE])
def test_anothers_calibration_is_refused(reward: Reward) -> None:
    own = Calibration(NINE, {"kind": "local", "files": {"model.safetensors": "34"}}, "o:1", "o")
    for given in (SKYWORK, presets()[SKYWORK], own):
        with pytest.raises(ConfigError, match=r"is of another reward model than '.*': their rewa"):
            in_force(given, reward)


def test_a_directory_is_known_by_its_files() -> None:
    made = Calibration(NINE, MINE.identity, "mine:1", "c.yaml")
    moved = Reward(kind="local", id="renamed", files=MINE.identity["files"], engine="vllm")
    assert in_force(made, moved) is made
    changed = Reward(kind="local", id="mine", files={"model.safetensors": "13"})
    with pytest.raises(ConfigError, match="of another reward model"):
        in_force(made, changed)


def test_a_copy_of_the_presets_model_is_believed_where_the_user_says_so() -> None:
    copy = Reward(kind="local", id=SKYWORK.partition("/")[2], files={"a": "1"})
    served = Reward(kind="server", id=SKYWORK, input="chat")
    for reward in (copy, served):
        assert in_force(SKYWORK, reward) is presets()[SKYWORK]
        with pytest.raises(ConfigError, match="which has none"):
            in_force(None, reward)


def test_rewards_without_their_model_need_a_calibration() -> None:
    assert in_force(SKYWORK, None) is presets()[SKYWORK]
    with pytest.raises(ConfigError, match="these rewards come without their model"):
        in_force(None, None)
    with pytest.raises(ConfigError, match=r"There is no calibration called 'Skywrk'.*, or Skywo"):
        in_force("Skywrk", None)


def test_deciles_give_a_tenth_to_each_number_of_points() -> None:
    rewards = np.random.default_rng(0).normal(-3, 2, size=1000)
    made = from_rewards(rewards, {"kind": "plugin"}, "m@1", "runs/x")
    ordered = np.sort(rewards)
    halfway = [(ordered[i - 1] + ordered[i]) / 2 for i in range(100, 1000, 100)]
    np.testing.assert_allclose(made.thresholds, halfway)
    assert np.unique(made.points(rewards), return_counts=True)[1].tolist() == [100] * 10
    assert made.signature.startswith("m@1:")


def test_the_last_bits_of_a_reward_decide_nothing() -> None:
    rewards = np.repeat(np.arange(30.0), np.random.default_rng(1).integers(1, 12, size=30))
    made = from_rewards(rewards, {}, "m", "x")
    points = made.points(rewards)
    assert set(points) == set(range(1, 11))
    for noise in (-1e-6, 1e-6):
        assert made.points(rewards + noise).tolist() == points.tolist()


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (np.arange(99), "runs/x has 99 responses, expected at least 100"),
        (np.repeat([1.0, 2.0, 3.0], 50), "too few values for 10 levels: 3 different ones in 150"),
        ([*range(100), *[100.0] * 20], "101 different ones in 120, and a tenth or more are equal"),
    ],
)
def test_what_cannot_be_calibrated(rewards: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_rewards(rewards, {}, "m", "runs/x")


@pytest.mark.parametrize("thresholds", [NINE[:8], NINE[::-1], (*NINE[:8], np.inf), (1.0,) * 9])
def test_thresholds_that_are_none(thresholds: Any) -> None:
    with pytest.raises(DataError, match="should be 9 ascending numbers"):
        Calibration(thresholds, {}, "m", "c.yaml")


def test_the_feature_is_made_of_rewards() -> None:
    made = RewardLevels(Calibration(NINE, MINE.identity, "mine:1", "c.yaml"), MINE)
    group = Group(Prompt.of_text("p", "x"), ("a", "b"), features={"reward": [[0.5], [3.5]]})
    (more,) = made.compute([group], FeatureCache())
    assert more["reward_level"].tolist() == [1, 4]
    assert made.requires == ("reward",)
    assert made.signature == "mine:1,mine@abc"
