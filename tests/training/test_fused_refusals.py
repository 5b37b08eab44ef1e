"""What the fused loss refuses."""

from __future__ import annotations

import math
import re

import pytest
import torch
from support.fused_cases import VOCABULARY, Case

from tofu_eval.core.errors import ConfigError, PluginError, TrainingError
from tofu_eval.training.logit_losses import Places, completion_places
from tofu_eval.training.losses import LossSpec, ce, tofu


def test_a_second_backward_pass_is_refused():
    loss = Case().fused(ce()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_derivative_is_refused():
    case = Case()
    (grad,) = torch.autograd.grad(case.fused(ce()).loss, case.hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad.sum().backward()


def test_no_supervised_token():
    case = Case()
    case.labels[:] = -100
    with pytest.raises(TrainingError, match="no supervised token: every label is -100"):
        case.fused(tofu())
    # as a part of a larger batch it counts for nothing, and backward still works
    report = case.fused(tofu(), num_items=10)
    assert report.loss == 0
    assert all((grad == 0).all() for grad in case.backward(report.loss))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (3, 22, 12)}, "states' shape (3, 22, 12) does not fit the labels' shape (3, 2"),
        ({"weight": (71, 13)}, "head's shape (71, 13) does not fit the hidden states' shape (3, 2"),
        ({"weight": (12,)}, "head's shape (12,) does not fit the hidden states' shape (3, 23, 12)"),
        ({"bias": (70,)}, "The bias's shape (70,) does not fit the head's shape (71, 12); expec"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    case = Case()
    for name, shape in change.items():
        setattr(case, name, torch.zeros(shape))
    with pytest.raises(TrainingError, match=re.escape(message)):
        case.fused(ce())


def test_places_that_do_not_fit():
    row = completion_places(torch.tensor([1, 2]))
    with pytest.raises(TrainingError, match=r"places' shape \(2,\) does not fit .* \(3, 23\)"):
        Case().fused(ce(), places=Places(row.position, row.length))


@pytest.mark.parametrize("label", [-1, VOCABULARY, 10**6])
def test_a_label_outside_the_vocabulary(label):
    case = Case()
    case.labels[1, 1] = label
    with pytest.raises(TrainingError, match=f"A label is {label}; expected -100 or .*, 0 to 70"):
        case.fused(ce())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"softcap": 0.0}, "softcap is 0.0; expected a finite number > 0"),
        ({"softcap": math.inf}, "softcap is inf; expected a finite number > 0"),
        ({"scale": 0.0}, "scale is 0.0; expected a finite number other than 0"),
        ({"chunk": 0}, "chunk is 0; expected a finite number >= 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Case().fused(ce(), **settings)


def test_a_weight_that_depends_on_other_tokens_is_named():
    relative = LossSpec("relative", lambda stats: stats.log_p / stats.log_p.mean())
    with pytest.raises(TrainingError, match="'relative' gives tokens weights that depend on other"):
        Case().fused(relative, chunk=7)


def test_an_entropy_factor_that_depends_on_other_tokens_is_named():
    relative = LossSpec("relative", ce().weight, entropy=lambda s: s.entropy / s.entropy.sum())
    with pytest.raises(TrainingError, match="'relative' gives tokens weights that depend on other"):
        Case().fused(relative, chunk=7)


def test_a_weight_of_the_wrong_shape_is_named():
    scalar = LossSpec("scalar", lambda stats: stats.log_p.sum())
    with pytest.raises(TrainingError, match=r"'scalar' gives weights of shape \(\); expected"):
        Case().fused(scalar)


def test_a_weight_that_is_a_number_is_named():
    one = LossSpec("one", lambda stats: 1.0)
    with pytest.raises(TrainingError, match="'one' gives weights that are a float; expected a ten"):
        Case().fused(one)


@pytest.mark.parametrize("mask", [lambda log_p: log_p < -2, lambda log_p: (log_p < -2).long()])
def test_a_mask_is_a_weight(mask):
    case = Case()
    wanted = case.fused(LossSpec("floats", lambda stats: mask(stats.log_p).to(stats.log_p.dtype)))
    got = case.fused(LossSpec("mask", lambda stats: mask(stats.log_p)))
    assert torch.equal(got.loss, wanted.loss)
    assert all(map(torch.equal, case.backward(got.loss), case.backward(wanted.loss)))


@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("weights", LossSpec("broken", lambda stats: stats.log_p.nothing())),
        ("entropy factors", LossSpec("broken", ce().weight, entropy=lambda stats: 1 / 0)),
        ("targets", LossSpec("broken", ce().weight, target=lambda log_q, y: log_q @ log_q)),
    ],
)
def test_a_loss_that_fails_is_named(what, broken):
    with pytest.raises(
        PluginError, match=f"^The loss 'broken' failed to give {what}: [A-Z].*Error: "
    ):
        Case().fused(broken)
