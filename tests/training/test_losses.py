"""Every loss: its weights, its gradient by its paper's formula, and both ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.paper_losses import (
    CASES,
    PAPERS,
    PLAIN_CASES,
    VOCABULARY,
    Plain,
    each_case,
    mean_loss,
    plain_focal,
    plain_tofu,
    some_logits,
    token_losses,
)
from torch import Tensor
from torch.nn.functional import cross_entropy

from tofu_eval.training.distribution_losses import (
    confidence_penalty,
    deft,
    eaft,
    gem_logsigmoid,
    label_smoothing,
    psft,
    sed,
)
from tofu_eval.training.logit_losses import completion_places
from tofu_eval.training.losses import (
    LOSSES,
    LossSpec,
    TokenStats,
    ce,
    dft,
    focal,
    gem,
    lambda_pr,
    p_alpha,
    tofu,
)


def weights_of(spec: LossSpec, logits: Tensor, labels: Tensor) -> Tensor:
    """w, read off the public value: loss / (-β log softmax(z/β)[y])."""
    unweighted = LossSpec("one", lambda s: torch.ones_like(s.log_p), spec.temperature)
    return token_losses(spec, logits, labels) / token_losses(unweighted, logits, labels)


def stats(p: float, *, position: int = 0, length: int = 1) -> TokenStats:
    return TokenStats(
        torch.tensor([math.log(p)], dtype=torch.float64),
        torch.tensor([position], dtype=torch.float64),
        torch.tensor([length], dtype=torch.float64),
        entropy=torch.tensor([math.log(2)], dtype=torch.float64),
        collision=torch.tensor([0.5], dtype=torch.float64),
        top=torch.tensor([[math.log(0.5), math.log(0.25)]], dtype=torch.float64),
        reference=torch.tensor([math.log(0.2)], dtype=torch.float64),
    )


def test_every_builtin_has_a_paper_formula_here():
    assert {entry.name for entry in LOSSES.entries()} == set(PAPERS)
    assert {name for name, _ in CASES} == set(PAPERS)


@pytest.mark.parametrize(("name", "settings"), PLAIN_CASES)
def test_gradient_is_the_identity(name, settings):
    logits, labels = some_logits()
    spec = LOSSES.get(name)(**settings)

    token_losses(spec, logits, labels).sum().backward()

    with torch.no_grad():
        weight = weights_of(spec, logits, labels)
        onehot = torch.nn.functional.one_hot(labels, VOCABULARY)
        expected = weight[..., None] * (torch.softmax(logits / spec.temperature, -1) - onehot)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-10)


@each_case
def test_gradient_equals_autograd_of_the_papers_formula(name, settings):
    logits, labels = some_logits()
    places = completion_places(labels)

    token_losses(LOSSES.get(name)(**settings), logits, labels).sum().backward()

    z = logits.detach().clone().requires_grad_()
    t, n = (place.flatten().double() for place in (places.position, places.length))
    flat = Plain(z.flatten(0, 1), labels.flatten(), t, n)
    PAPERS[name](flat, **settings).sum().backward()
    assert z.grad.abs().max() > 1e-3
    torch.testing.assert_close(logits.grad, z.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("spec", "token", "expected"),
    [
        # python -c "from math import log; print(.75**2 - 2*.25*.75*log(.25))"
        (focal(2.0), stats(0.25), 1.0823603854199589),
        # python -c "from math import log; print(.75**3 - 3*.25*.75**2*log(.25))"
        (tofu(3.0, 0.8), stats(0.25), 1.0067179335974537),
        (dft(), stats(0.25), 0.25),
        (ce(), stats(0.25), 1.0),
        (gem(0.7), stats(0.25), 1.0),
        # r = .25 / (.5 + .5*.25) = .4 <= .25**(1/2) = .5, so λ^0 · r, then λ^1 · r
        (lambda_pr(0.25, 0.5), stats(0.25, position=0, length=2), 0.4),
        (lambda_pr(0.25, 0.5), stats(0.25, position=1, length=2), 0.1),
        # r = .5 / (.5 + .5*.5) = 2/3 > .5
        (lambda_pr(0.25, 0.5), stats(0.5, position=0, length=2), 0.0),
        (p_alpha(0.5), stats(0.25), 0.5),
        # H / ln 4 = ln 2 / ln 4
        (eaft(top=4), stats(0.25), 0.5),
        # .25**.5
        (deft(), stats(0.25), 0.5),
        # .25 / .2 < 1.28; .26 / .2 = 1.3 is not
        (psft(0.28), stats(0.25), 1.25),
        (psft(0.28), stats(0.26), 0.0),
        # .5 + .25 < .8: 1 - .5 * .25 * (2*.25 - 1); .75 is not below .75
        (sed(0.5, 2, 0.8), stats(0.25), 1.0625),
        (sed(0.5, 2, 0.75), stats(0.25), 1.0),
        # a completion of one token: the exponent is 0 / 1
        (lambda_pr(0.5, 0.5), stats(0.25, position=0, length=1), 0.4),
    ],
)
def test_weights_by_hand(spec, token, expected):
    assert spec.weight(token).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        (focal(0.0), ce()),
        (tofu(0.0, 1.0), ce()),
        (tofu(2.0, 1.0), focal(2.0)),
        (tofu(0.0, 0.7), gem(0.7)),
        (gem(1.0), ce()),
        (lambda_pr(1.0, 1.0), dft()),
        (lambda_pr(1.0, 1e-300), ce()),
        (p_alpha(1.0), dft()),
        (p_alpha(0.0), ce()),
        (eaft(0.0), ce()),
        (sed(0.0), ce()),
        (sed(1.0, 2, 0.0), ce()),
        (confidence_penalty(0.0), ce()),
        (label_smoothing(0.0), ce()),
    ],
)
def test_losses_that_coincide(spec, same):
    logits, labels = some_logits(scale=2.0)
    torch.testing.assert_close(
        token_losses(spec, logits, labels), token_losses(same, logits, labels), rtol=1e-12, atol=0
    )


def test_cross_entropy_is_torchs():
    logits, labels = some_logits()
    labels[0, :5] = -100
    ours = mean_loss(ce(), logits, labels)
    expected = cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(ours.loss, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.cross_entropy, expected.detach(), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (focal(2.0), focal(2.5)),
        (tofu(3.0, 0.8), tofu(2.5, 0.8)),
        (tofu(3.0, 0.8), tofu(3.0, 0.9)),
        (gem(0.7), gem(0.8)),
        (lambda_pr(0.4, 0.2), lambda_pr(0.5, 0.2)),
        (lambda_pr(0.4, 0.2), lambda_pr(0.4, 0.3)),
        (p_alpha(0.3), p_alpha(0.4)),
        (eaft(1.0, 20), eaft(2.0, 20)),
        (eaft(1.0, 20), eaft(1.0, 30)),
        (psft(0.2), psft(4.0)),
        (sed(1.0, 2, 0.95), sed(0.5, 2, 0.95)),
        (sed(1.0, 2, 0.95), sed(1.0, 3, 0.95)),
        (sed(1.0, 2, 0.95), sed(1.0, 2, 0.9)),
        (confidence_penalty(0.1), confidence_penalty(0.2)),
        (label_smoothing(0.1), label_smoothing(0.2)),
        (gem_logsigmoid(0.7, 0.01), gem_logsigmoid(0.8, 0.01)),
        (gem_logsigmoid(0.7, 0.01), gem_logsigmoid(0.7, 0.1)),
    ],
)
def test_every_parameter_changes_the_gradient(one, other):
    grads = []
    for spec in (one, other):
        logits, labels = some_logits()
        token_losses(spec, logits, labels).sum().backward()
        grads.append(logits.grad)
    assert (grads[0] - grads[1]).abs().max() > 1e-3


def extreme(p: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """One token whose probability is 0 or 1 in float32."""
    z = torch.tensor([[0.0, 200.0 if p else -200.0]], dtype=dtype)
    return z.requires_grad_(), torch.tensor([1])


@pytest.mark.parametrize(
    ("formula", "settings", "p"),
    [
        (plain_tofu, {"gamma": 3.0, "beta": 0.8}, 0),  # 0 · log 0
        (plain_tofu, {"gamma": 0.5, "beta": 0.8}, 1),  # 0^(γ-1) · log 1
        (plain_focal, {"gamma": 0.5}, 1),  # in the gradient only
    ],
)
def test_the_plain_formula_is_nan_where_ours_is_finite(formula, settings, p):
    z, y = extreme(p)
    formula(Plain(z, y, torch.zeros(1), torch.ones(1)), **settings).sum().backward()
    assert z.grad.isnan().any()

    spec = tofu(**settings) if formula is plain_tofu else focal(**settings)
    logits, labels = extreme(p)
    value = token_losses(spec, logits, labels)
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


@each_case
@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_finite_at_both_ends(name, settings, p, dtype):
    logits, labels = extreme(p, dtype)
    value = token_losses(LOSSES.get(name)(**settings), logits, labels)
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


@given(st.floats(-1e4, 0), st.sampled_from(CASES))
def test_weights_are_finite_and_not_negative(log_p, case):
    name, settings = case
    one = torch.tensor([1.0])
    place = (torch.tensor([log_p]), one, 3 * one)
    token = TokenStats(*place, entropy=one, collision=one / 2, top=-one[None], reference=-one)
    weight = LOSSES.get(name)(**settings).weight(token)
    assert weight.dtype == torch.float32
    assert 0 <= weight.item() < 10


@each_case
def test_a_token_that_cannot_come_leaves_all_finite(name, settings):
    """Masked logits are -inf, and 0 · -inf is NaN."""
    logits, labels = some_logits()
    barred = torch.where(torch.arange(VOCABULARY) == 3, -math.inf, logits.detach())
    barred.requires_grad_()
    labels[labels == 3] = 4
    value = token_losses(LOSSES.get(name)(**settings), barred, labels)
    if name == "label-smoothing":  # which wants that token too
        assert value.isinf().all()
        return
    value.sum().backward()
    assert value.isfinite().all()
    assert barred.grad.isfinite().all()
