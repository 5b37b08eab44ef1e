"""A tiny base of the lab, trained for a few steps: enough to save, load and measure."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_pretraining():
    """Settings without a gate, which a model this small would fail."""
    from tofu_eval.lab.checkpoints import Pretraining

    return Pretraining(
        width=32, layers=1, batch_size=8, round_steps=3, max_rounds=1, warmup=1,
        family_gate=0.0, overall_gate=0.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_base(tiny_pretraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint, seed 0."""
    from tofu_eval.lab.checkpoints import pretrain

    path = tmp_path_factory.mktemp("lab") / "base"
    return pretrain(path, seed=0, settings=tiny_pretraining)
