"""Losses on logits: what changes nothing, what adds up, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from support.paper_losses import (
    TOKENS,
    VOCABULARY,
    each_case,
    mean_loss,
    reference_of,
    some_logits,
    token_losses,
)
from torch import Tensor

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.distribution_losses import psft
from tofu_eval.training.logit_losses import Places, completion_places
from tofu_eval.training.losses import LOSSES, LossSpec, ce, dft, lambda_pr, tofu


def same(one: Tensor, other: Tensor) -> None:
    """Equal but for the last bit, which a vectorised kernel may round in its own way."""
    torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


@each_case
def test_ignored_tokens_and_padding_change_nothing(name, settings):
    spec = LOSSES.get(name)(**settings)
    logits, labels = some_logits(rows=1)
    alone = token_losses(spec, logits, labels)

    # a prompt before it, a hole inside it, padding after it; NaN stands where nobody may look
    noise = torch.full((1, 7, VOCABULARY), math.nan, dtype=torch.float64)
    gap = torch.full((1, 7), -100)
    padded = torch.cat([noise, logits[:, :20], noise, logits[:, 20:], noise], dim=1).detach()
    padded.requires_grad_()
    longer = torch.cat([gap, labels[:, :20], gap, labels[:, 20:], gap], dim=1)
    inside = token_losses(spec, padded, longer)
    supervised = longer != -100

    same(inside[supervised], alone[0])
    assert (inside[~supervised] == 0).all()
    inside.sum().backward()
    assert (padded.grad[~supervised] == 0).all()
    assert padded.grad.isfinite().all()


@each_case
def test_batch_mates_change_nothing(name, settings):
    spec = LOSSES.get(name)(**settings)
    logits, labels = some_logits(rows=3)
    labels[1, 25:] = -100
    labels[2, :30] = -100
    together = token_losses(spec, logits, labels)
    for row in range(3):
        same(token_losses(spec, logits[row], labels[row]), together[row])


@each_case
def test_packing_changes_nothing(name, settings):
    spec = LOSSES.get(name)(**settings)
    logits, labels = some_logits(rows=2)
    labels[0, :9] = -100
    apart = token_losses(spec, logits, labels)

    packed, target = logits.reshape(1, -1, VOCABULARY), labels.reshape(1, -1)
    documents = torch.arange(2).repeat_interleave(TOKENS)[None]
    together = token_losses(spec, packed, target, places=completion_places(target, documents))

    same(together.reshape(2, -1), apart)


def test_packing_without_documents_does_change_lambda_pr():
    logits, labels = some_logits(rows=2)
    apart = token_losses(lambda_pr(0.4, 0.2), logits, labels)
    wrong = token_losses(
        lambda_pr(0.4, 0.2), logits.reshape(1, -1, VOCABULARY), labels.reshape(1, -1)
    )
    assert not torch.allclose(wrong.reshape(2, -1), apart)


def test_places_by_hand():
    labels = torch.tensor([[-100, 5, 6, -100, 7, -100], [1, 2, 3, 4, 5, 6]])
    places = completion_places(labels)
    assert places.position[labels != -100].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert places.length[:, 0].tolist() == [3, 6]

    packed = completion_places(labels, torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]]))
    assert packed.position[labels != -100].tolist() == [0, 1, 0, 0, 0, 1, 2, 0, 1]
    assert packed.length[labels != -100].tolist() == [2, 2, 1, 1, 3, 3, 3, 2, 2]


@each_case
def test_upstream_gradient_is_passed_on(name, settings):
    spec = LOSSES.get(name)(**settings)
    logits, labels = some_logits()
    token_losses(spec, logits, labels).sum().backward()
    unit, logits.grad = logits.grad, None

    upstream = torch.linspace(-2, 3, labels.numel(), dtype=torch.float64).reshape(labels.shape)
    token_losses(spec, logits, labels).backward(upstream)
    torch.testing.assert_close(logits.grad, upstream[..., None] * unit, rtol=1e-12, atol=1e-14)


@each_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(name, settings, dtype):
    spec = LOSSES.get(name)(**settings)
    exact, labels = some_logits()
    half = exact.detach().to(dtype).requires_grad_()
    single = half.detach().float().requires_grad_()
    value = token_losses(spec, half, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, token_losses(spec, single, labels))

    value.sum().backward()
    token_losses(spec, single, labels).sum().backward()
    assert half.grad.dtype == dtype
    assert torch.equal(half.grad, single.grad.to(dtype))


@each_case
def test_inputs_are_not_mutated(name, settings):
    logits, labels = some_logits()
    labels[1, 3:9] = -100
    places = completion_places(labels)
    before = [x.detach().clone() for x in (logits, labels, places.position, places.length)]
    mean_loss(LOSSES.get(name)(**settings), logits, labels, places=places).loss.backward()
    after = [logits.detach(), labels, places.position, places.length]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@each_case
def test_parts_of_a_batch_add_up(name, settings):
    spec = LOSSES.get(name)(**settings)
    logits, labels = some_logits()
    labels[0, 7:] = -100  # parts of unequal size: a mean of means would be wrong
    whole = mean_loss(spec, logits, labels)
    items = int((labels != -100).sum())
    parts = [mean_loss(spec, logits[i], labels[i], num_items=items) for i in range(3)]
    for field in ("loss", "cross_entropy", "mean_weight"):
        total = sum(getattr(part, field) for part in parts)
        torch.testing.assert_close(total, getattr(whole, field), rtol=1e-12, atol=0)


def test_a_report_tells_loss_and_cross_entropy_apart():
    logits, labels = some_logits()
    made = mean_loss(dft(), logits, labels)
    p = torch.softmax(logits, -1).gather(-1, labels[..., None])[..., 0].detach()
    torch.testing.assert_close(made.cross_entropy, -p.log().mean())
    torch.testing.assert_close(made.mean_weight, p.mean())
    torch.testing.assert_close(made.loss.detach(), (-p * p.log()).mean())
    assert not made.cross_entropy.requires_grad
    assert not made.mean_weight.requires_grad


def test_a_batch_without_supervised_tokens():
    logits, labels = some_logits()
    nothing = torch.full_like(labels, -100)
    assert (token_losses(tofu(), logits, nothing) == 0).all()
    assert mean_loss(tofu(), logits, nothing, num_items=10).loss.item() == 0
    with pytest.raises(TrainingError, match=r"no supervised token: every label is -100\."):
        mean_loss(tofu(), logits, nothing)


def test_shapes_that_do_not_fit():
    logits, labels = some_logits()
    with pytest.raises(TrainingError) as caught:
        token_losses(ce(), logits, labels[:, 1:])
    assert str(caught.value) == (
        "The logits' shape (3, 40, 11) does not fit the labels' shape (3, 39); "
        "expected (3, 39, 'vocabulary')."
    )


def test_a_weight_of_the_wrong_shape():
    logits, labels = some_logits(rows=1)
    with pytest.raises(TrainingError) as caught:
        token_losses(LossSpec("odd", lambda s: s.log_p[:, None]), logits, labels)
    assert str(caught.value) == (
        "The loss 'odd' gives weights of shape (40, 1); expected one a token, (40,)."
    )


def test_given_places_are_used():
    logits, labels = some_logits(rows=1)
    places = Places(torch.zeros_like(labels), torch.full_like(labels, 5))
    got = token_losses(lambda_pr(0.4, 0.2), logits, labels, places=places)
    counted = token_losses(lambda_pr(0.4, 0.2), logits, labels)
    assert not torch.allclose(got, counted)


def test_a_reference_that_is_missing_or_does_not_fit():
    logits, labels = some_logits(rows=1)
    with pytest.raises(TrainingError) as caught:
        token_losses(psft(), logits, labels, reference=None)
    assert str(caught.value) == (
        "The loss 'psft' looks at a reference model, and there is none. "
        "Give reference=: its log-probability of each label."
    )
    with pytest.raises(TrainingError, match=r"reference's shape \(1, 39\) does not fit"):
        token_losses(psft(), logits, labels, reference=reference_of(labels)[:, 1:])


def test_a_target_of_the_wrong_shape():
    logits, labels = some_logits(rows=1)
    odd = LossSpec("odd", ce().weight, target=lambda log_q, y: log_q[:, :3])
    with pytest.raises(TrainingError, match=r"'odd' gives targets of shape \(40, 3\); expected"):
        token_losses(odd, logits, labels)
