"""The feature "reward": how good a response is, as a reward model says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tofu_eval.core.sections import section, setting
from tofu_eval.features.base import FeatureModel, Opening, feature

if TYPE_CHECKING:
    from tofu_eval.core.registry import Registry


def _reward_models() -> Registry[Any]:
    from tofu_eval.features.custom import REWARD_MODELS

    return REWARD_MODELS


@section("reward", title="Reward model")
class RewardSettings:
    """What gives rewards, and what they are worth."""

    model: str | None = setting(
        None,
        metavar="MODEL",
        registry=_reward_models,
        help="Sequence-classification model with one output, a package's reward model, or a "
        "Python file with one; for the metric 'reward'.",
    )
    engine: Literal["transformers", "vllm", "openai"] = setting(
        "transformers", help="What computes them; openai is a server of vLLM's."
    )
    base_url: str | None = setting(None, metavar="URL", help="Where that server is.")
    calibration: str | None = setting(
        None,
        metavar="FILE|PRESET",
        help="What a reward is worth, for utility_k. Default: the preset of the reward model",
    )


def rewards(opening: Opening) -> Sequence[str]:
    """The reward itself, where the user names its model."""
    return ("reward",) if opening.settings(RewardSettings).model else ()


@feature(name="reward", settings=(RewardSettings,), wants=("reward.model",), adds=rewards)
def open_reward_model(opening: Opening) -> FeatureModel:
    """(n, 1) raw rewards; higher is better, the scale is the model's."""
    settings = opening.settings(RewardSettings)
    model = str(settings.model)
    registered = _reward_models()
    if model in registered:
        named: FeatureModel = registered.get(model)
        return named
    if settings.engine == "openai":
        from tofu_eval.features.served import ServedRewardModel

        return ServedRewardModel(model, settings.base_url)
    if settings.engine == "vllm":
        from tofu_eval.features.vllm import VllmRewardModel

        return VllmRewardModel(model)
    from tofu_eval.features.isolated import open_model
    from tofu_eval.features.sequence_classifier import RewardModel

    return open_model(opening, RewardModel, model)
