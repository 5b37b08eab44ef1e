"""The fused loss has the values and gradients of the plain formula, however it is cut."""

from __future__ import annotations

import math

import pytest
import torch
from support.fused_cases import (
    FLOAT32,
    HEADS,
    ROWS,
    SPECS,
    TOKENS,
    VOCABULARY,
    WIDTH,
    Case,
    close,
    each_head,
    each_loss,
    equals_plain,
    fused_loss,
)

from tofu_eval.training.distribution_losses import confidence_penalty
from tofu_eval.training.logit_losses import completion_places
from tofu_eval.training.losses import LossSpec, ce, lambda_pr, tofu
from tofu_eval.training.tiles import tile_in_torch


@each_loss
@each_head
def test_float32_equals_the_plain_formula_in_float64(spec, head):
    equals_plain(Case(**head), spec, FLOAT32, chunk=7)


@each_loss
@each_head
def test_float64_is_exact(spec, head):
    equals_plain(Case(torch.float64, **head), spec, 1e-13, chunk=7)


@each_loss
@each_head
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2.5e-3)], ids=["bf16", "f16"]
)
def test_half_precision(spec, head, dtype, tolerance):
    """Five roundings of 2^-8 (2^-11) at most: logit, tile, product, the result; sums add none."""
    equals_plain(Case(dtype, **head), spec, tolerance, chunk=7)


def test_half_precision_sums_the_heads_gradient_in_float32():
    case = Case(torch.bfloat16)
    one_tile = case.backward(case.fused(ce()).loss)[1]
    a_token_each = case.backward(case.fused(ce(), chunk=1).loss)[1]
    assert torch.equal(one_tile, a_token_each)


@each_loss
@pytest.mark.parametrize("chunk", [1, 2, 10, 53, 54, 55, 1000])
def test_chunk_sizes_change_nothing(spec, chunk):
    assert int((Case().labels != -100).sum()) == 55
    equals_plain(Case(), spec, FLOAT32, chunk=chunk)


@each_loss
def test_ignored_tokens_change_nothing(spec):
    case = Case()
    ignored = case.labels == -100
    expected = case.backward(case.fused(spec).loss)
    with torch.no_grad():
        case.hidden[ignored] = math.nan
    grads = case.backward(case.fused(spec).loss)
    assert (grads[0][ignored] == 0).all()
    for one, other in zip(grads, expected, strict=True):
        assert torch.equal(one, other)


@each_loss
def test_batch_mates_and_packing_change_nothing(spec):
    case = Case(torch.float64)
    together = case.backward(case.fused(spec, num_items=1).loss)[0]

    packed = fused_loss(
        spec,
        case.hidden.reshape(1, -1, WIDTH),
        case.weight,
        case.labels.reshape(1, -1),
        places=completion_places(
            case.labels.reshape(1, -1), torch.arange(ROWS).repeat_interleave(TOKENS)[None]
        ),
        num_items=1,
        chunk=7,
    )
    close(case.backward(packed.loss)[0], together, 1e-13)

    for row in range(ROWS):
        alone = fused_loss(spec, case.hidden[row], case.weight, case.labels[row], num_items=1)
        close(case.backward(alone.loss)[0][row], together[row], 1e-13)


def test_packing_without_documents_does_change_lambda_pr():
    case, spec = Case(), lambda_pr(0.4, 0.2)
    flat = fused_loss(spec, case.hidden.flatten(0, 1), case.weight, case.labels.flatten())
    assert abs(flat.loss - case.fused(spec).loss) > 1e-4


@each_loss
@pytest.mark.parametrize("upstream", [-2.5, 0.0, 3.0])
def test_upstream_gradient_is_passed_on(spec, upstream):
    case = Case(bias=True)
    unit = case.backward(case.fused(spec, chunk=7).loss)
    for one, other in zip(
        case.backward(upstream * case.fused(spec, chunk=7).loss), unit, strict=True
    ):
        torch.testing.assert_close(one, upstream * other, rtol=1e-6, atol=1e-8)


def test_a_loss_scale_saves_small_gradients_in_float16():
    case = Case(torch.float16)
    unit = case.backward(case.fused(ce(), num_items=1).loss)
    scaled = case.backward(2**20 * case.fused(ce(), num_items=2**20).loss)
    for one, other in zip(scaled, unit, strict=True):
        assert torch.equal(one, other)


@each_loss
def test_parts_of_a_batch_add_up(spec):
    case = Case(torch.float64)
    whole = case.fused(spec)
    parts = [
        fused_loss(spec, case.hidden[i], case.weight, case.labels[i], num_items=55)
        for i in range(ROWS)
    ]
    for field in ("loss", "cross_entropy", "mean_weight", "entropy", "accuracy"):
        total = sum(getattr(part, field) for part in parts)
        torch.testing.assert_close(total, getattr(whole, field), rtol=1e-12, atol=0)


@each_loss
@each_head
def test_entropy_and_accuracy(spec, head):
    case = Case(**head)
    ours = case.fused(spec, chunk=7)
    supervised = case.labels != -100
    logits = case.in_float64().logits()[supervised]
    close(ours.entropy, torch.distributions.Categorical(logits=logits).entropy().mean(), FLOAT32)
    right = (logits.argmax(-1) == case.labels[supervised]).double().mean()
    assert 0.1 < right < 0.9
    close(ours.accuracy, right, FLOAT32)
    assert not ours.entropy.requires_grad
    assert not ours.accuracy.requires_grad


@each_loss
def test_tied_embeddings(spec):
    case = Case()
    exact = case.in_float64()
    ids = torch.arange(TOKENS * ROWS).reshape(ROWS, TOKENS) % VOCABULARY
    case.hidden, exact.hidden = torch.tanh(case.weight[ids]), torch.tanh(exact.weight[ids])
    case.fused(spec, chunk=7).loss.backward()
    exact.plain(spec).loss.backward()
    close(case.weight.grad, exact.weight.grad, FLOAT32)


def test_autocast_multiplies_in_its_dtype_and_returns_float32_gradients():
    case, rounded = Case(), Case(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        ours = case.fused(tofu(), chunk=7)
    assert torch.equal(ours.loss, rounded.fused(tofu(), chunk=7).loss)
    for one, other in zip(
        case.backward(ours.loss),
        rounded.backward(rounded.fused(tofu(), chunk=7).loss),
        strict=True,
    ):
        assert one.dtype == torch.float32
        assert torch.equal(one.bfloat16(), other)


def test_autocast_leaves_float64_as_it_is():
    case = Case(torch.float64)
    expected = case.fused(tofu()).loss
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(case.fused(tofu()).loss, expected)


def test_inputs_are_not_mutated():
    case = Case(bias=True, softcap=5.0, scale=0.25)
    places = completion_places(case.labels)
    inputs = [*case.leaves, case.labels, places.position, places.length]
    before = [x.detach().clone() for x in inputs]
    case.fused(tofu(), places=places, chunk=7).loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))


@pytest.mark.parametrize("spec", [tofu(), confidence_penalty(), SPECS["plug-in"]])
def test_a_token_that_cannot_come_leaves_all_finite(spec):
    case = Case(bias=True)
    with torch.no_grad():
        case.bias[3] = -math.inf
    case.labels[case.labels == 3] = 4
    report = case.fused(spec, chunk=7)
    assert all(x.isfinite() for x in (report.loss, report.entropy, report.cross_entropy))
    assert all(grad.isfinite().all() for grad in case.backward(report.loss))


def test_what_stood_in_memory_before_comes_into_nothing(monkeypatch):
    """A tile's rows are padded, and some processors' bfloat16 products read what stands there."""
    case, padding = Case(torch.bfloat16), []

    def choose(*args):
        def tile(product, *more):
            padding.append(product._base[:, product.shape[1] :].clone())
            return tile_in_torch(product, *more)

        return tile

    monkeypatch.setattr("tofu_eval.training.fused.choose_tile", choose)
    torch.use_deterministic_algorithms(True)  # new memory is NaN
    try:
        grads = case.backward(case.fused(ce()).loss)
    finally:
        torch.use_deterministic_algorithms(False)
    assert padding[0].numel()
    assert not padding[0].any()
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("head", [HEADS["plain"], HEADS["all"]], ids=["plain", "all"])
def test_small_weights_keep_their_precision_in_float16(head):
    """Weights of 1 to 1e-9: each token's gradient is as exact as the others', by its own size."""
    spec = LossSpec("small", lambda stats: 10.0 ** -(stats.position % 10))
    exact = Case(torch.float16, **head).in_float64()
    case = exact.in_float64()
    for name in ("hidden", "weight", "bias"):
        x = getattr(exact, name)
        setattr(case, name, None if x is None else x.detach().float().requires_grad_())
    with torch.autocast("cpu", torch.float16):
        loss = case.fused(spec, num_items=1, chunk=7).loss
    got, wanted = case.backward(loss), exact.backward(exact.plain(spec, num_items=1).loss)
    for one, other in zip(got[0].flatten(0, 1), wanted[0].flatten(0, 1), strict=True):
        # A logit of 20 is rounded by 2^-7, and with it 1 - p of a token that is nearly sure.
        torch.testing.assert_close(
            one.double(), other, rtol=0, atol=3e-2 * other.abs().max().item()
        )
    for one, other in zip(got[1:], wanted[1:], strict=True):
        close(one, other, 2.5e-3)
