"""The feature "reward_level": points from 1 to 10 for a reward, by its model's calibration."""

from __future__ import annotations

from pathlib import Path

from tofu_eval.features.base import GroupFeature, Opening, feature
from tofu_eval.features.reward import RewardSettings


@feature(
    name="reward_level",
    level="group",
    needs=("reward",),
    settings=(RewardSettings,),
    wants=("reward.model",),
)
def open_reward_levels(opening: Opening) -> GroupFeature:
    """(n,) points from 1 to 10, NaN where a reward is not finite."""
    from tofu_eval.features.calibration import RewardLevels, in_force, presets, read_calibration

    given = opening.settings(RewardSettings).calibration
    named = given is None or given in presets()
    reward = opening.models.get("reward")  # none where the groups bring their rewards
    calibration = in_force(given if named else read_calibration(Path(str(given))), reward)
    return RewardLevels(calibration, reward)
