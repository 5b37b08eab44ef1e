"""Rewards from vLLM: `make test-engines`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import transformers

from tofu_eval.features.reward import RewardModel
from tofu_eval.features.vllm_reward import VllmRewardModel
from tofu_eval.types import Prompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]


def test_raw_rewards_are_those_of_transformers(served_model: Path, tmp_path: Path) -> None:
    import torch

    config = transformers.AutoConfig.from_pretrained(served_model, num_labels=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForSequenceClassification(config)
    model.score.weight.data *= 20  # far outside (0, 1), where an activation would show
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(served_model).save_pretrained(tmp_path)
    fruits = ("apple", "a pear", "the plum of the old clock", "fig")
    pairs = [(Prompt.of_text("p", "Name a fruit."), text) for text in fruits]
    expected = RewardModel(str(tmp_path), device="cpu").compute(pairs)
    assert np.ptp(expected) > 2
    reward = VllmRewardModel(str(tmp_path), arguments={"enforce_eager": True})
    np.testing.assert_allclose(reward.compute(pairs), expected, atol=1e-3, rtol=1e-4)
    reward.close()
    assert reward.identity["engine"] == "vllm"
