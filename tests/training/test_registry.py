from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tofu_eval.core.errors import ConfigError, DuplicateNameError, UnknownNameError
from tofu_eval.training.logit_losses import token_losses
from tofu_eval.training.losses import (
    LOSSES,
    LossSpec,
    ce,
    focal,
    gem,
    lambda_pr,
    loss,
    tofu,
)

BUILTIN = [
    *("ce", "confidence-penalty", "deft", "dft", "eaft", "focal", "gem", "gem-logsigmoid"),
    *("label-smoothing", "lambda-pr", "p-alpha", "psft", "sed", "tofu"),
]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: focal(-1.0), "focal: gamma is -1.0; expected a finite number >= 0."),
        (lambda: focal(math.inf), "focal: gamma is inf; expected a finite number >= 0."),
        (lambda: tofu(gamma=math.nan), "tofu: gamma is nan; expected a finite number >= 0."),
        (lambda: tofu(beta=0.0), "tofu: beta is 0.0; expected a finite number > 0."),
        (lambda: gem(beta=-0.5), "gem: beta is -0.5; expected a finite number > 0."),
        (lambda: gem(beta=math.inf), "gem: beta is inf; expected a finite number > 0."),
        (
            lambda: lambda_pr(lam=0.0),
            "lambda-pr: lam is 0.0; expected a finite number > 0 and <= 1.",
        ),
        (
            lambda: lambda_pr(lam=1.5),
            "lambda-pr: lam is 1.5; expected a finite number > 0 and <= 1.",
        ),
        (
            lambda: lambda_pr(gamma=0.0),
            "lambda-pr: gamma is 0.0; expected a finite number > 0 and <= 1.",
        ),
        (
            lambda: LOSSES.get("tofu")(gama=3.0),
            "The loss 'tofu' has no setting 'gama'; it takes gamma, beta.",
        ),
        (lambda: LOSSES.get("ce")(beta=1.0), "The loss 'ce' has no setting 'beta'; it takes none."),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_unknown_loss():
    with pytest.raises(UnknownNameError) as caught:
        LOSSES.get("toffu")
    assert str(caught.value) == (
        "Unknown loss 'toffu'. Did you mean 'tofu'? List all: tofu-eval losses list"
    )


PLUGIN = '''
import torch
from tofu_eval.training.losses import LossSpec, loss

@loss(name="late", paper="none")
def late(power: float = 2.0) -> LossSpec:
    """Later tokens count more."""
    return LossSpec("late", lambda s: ((s.position + 1) / s.length) ** power)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers the loss `late` through an entry point."""
    (tmp_path / "dummy_losses.py").write_text(PLUGIN)
    info = tmp_path / "dummy_losses-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dummy-losses\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tofu_eval.losses]\nlate = dummy_losses\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(LOSSES, "_items", dict(LOSSES._items))
    yield
    sys.modules.pop("dummy_losses", None)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_adds_a_loss():
    late = LOSSES.get("late")
    assert (late.name, late.paper) == ("late", "none")
    assert [entry.name for entry in LOSSES.entries()] == sorted([*BUILTIN, "late"])

    logits = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    token_losses(late(power=1.0), logits, torch.tensor([1, -100, 2])).sum().backward()
    # p = 1/4 everywhere; weights 1/2 and 2/2, and nothing for the ignored token
    expected = [[0.125, -0.375, 0.125, 0.125], [0, 0, 0, 0], [0.25, 0.25, -0.75, 0.25]]
    assert logits.grad.tolist() == expected


def test_a_taken_name_is_refused(monkeypatch):
    monkeypatch.setattr(LOSSES, "_items", dict(LOSSES._items))

    def impostor() -> LossSpec:
        return LossSpec("tofu", lambda s: s.log_p)

    with pytest.raises(
        DuplicateNameError,
        match=r"called 'tofu': .*losses\.py:\d+ and .*test_registry\.py:\d+\. Rename",
    ):
        loss(name="tofu", paper="none")(impostor)


def test_a_factory_is_checked_when_it_registers():
    def hungry(gamma: float) -> LossSpec:
        return LossSpec("hungry", lambda s: s.log_p)

    with pytest.raises(ConfigError) as caught:
        loss(name="hungry", paper="none")(hungry)
    assert str(caught.value) == "The loss 'hungry' gives its setting 'gamma' no default."
    with pytest.raises(ConfigError, match="The loss 'mine' must return a LossSpec of that name"):
        loss(name="mine", paper="none")(ce)
