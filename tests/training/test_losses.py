from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from tofu_eval.core.errors import TrainingError
from tofu_eval.training import logit_losses
from tofu_eval.training.distribution_losses import (
    confidence_penalty,
    deft,
    eaft,
    gem_logsigmoid,
    label_smoothing,
    psft,
    sed,
)
from tofu_eval.training.logit_losses import LossReport, Places, completion_places
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

Settings = dict[str, float]


def reference_of(labels: Tensor) -> Tensor:
    """What a reference model might think of each label: nothing here depends on the place."""
    return -(labels % 7).double() / 2 - 0.1


def token_losses(spec: LossSpec, logits: Tensor, labels: Tensor, **more: Any) -> Tensor:
    more = {"reference": reference_of(labels), **more}
    return logit_losses.token_losses(spec, logits, labels, **more)


def mean_loss(spec: LossSpec, logits: Tensor, labels: Tensor, **more: Any) -> LossReport:
    more = {"reference": reference_of(labels), **more}
    return logit_losses.mean_loss(spec, logits, labels, **more)


@dataclass
class Plain:
    """What the papers' formulas are written in: the whole distribution and each token's place."""

    z: Tensor
    y: Tensor
    t: Tensor
    n: Tensor

    @property
    def log_q(self) -> Tensor:
        return log_softmax(self.z, dim=-1)

    @property
    def log_p(self) -> Tensor:
        return self.log_q.gather(-1, self.y[:, None])[:, 0]

    @property
    def p(self) -> Tensor:
        return self.log_p.exp()

    def tempered(self, beta: float) -> Tensor:
        return log_softmax(self.z / beta, dim=-1).gather(-1, self.y[:, None])[:, 0]


def plain_focal_factor(p: Tensor, gamma: float) -> Tensor:
    return (1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * torch.log(p)


def plain_focal(x: Plain, gamma: float) -> Tensor:
    """Lin et al. 2017, arXiv:1708.02002, equation 4."""
    return -((1 - x.p) ** gamma) * x.log_p


def plain_tofu(x: Plain, gamma: float, beta: float) -> Tensor:
    """Klypa and Cherednichenko 2026, arXiv:2605.00195."""
    return -plain_focal_factor(x.p, gamma).detach() * beta * x.tempered(beta)


def plain_gem(x: Plain, beta: float) -> Tensor:
    """Li et al. 2024, arXiv:2408.16673, with linear h."""
    held = torch.softmax(x.z / beta, dim=-1).detach()
    return (held * (x.log_q - x.log_p[:, None])).sum(-1)


def plain_dft(x: Plain) -> Tensor:
    """Wu et al. 2025, arXiv:2508.05629, equation 9."""
    return -x.p.detach() * x.log_p


def plain_lambda_pr(x: Plain, lam: float, gamma: float) -> Tensor:
    """Verine et al. 2025, arXiv:2508.09654, as the code of arXiv:2605.00195 writes it."""
    root = lam ** (1 / x.n)
    delta = gamma * root / (1 - (1 - gamma) * root)
    weight = lam ** (x.t / (x.n - 1)) * (x.p <= delta) * x.p / (gamma + (1 - gamma) * x.p)
    return -weight.detach() * x.log_p


def plain_p_alpha(x: Plain, alpha: float) -> Tensor:
    """Li et al. 2025, arXiv:2510.00526."""
    return (1 - x.p**alpha) / alpha


def plain_eaft(x: Plain, alpha: float, top: float) -> Tensor:
    """Diao et al. 2026, arXiv:2601.02151: of the K likeliest tokens, all of them where K is V."""
    likeliest = log_softmax(x.log_q.topk(int(top)).values, dim=-1)
    gate = -(likeliest.exp() * likeliest).sum(-1) / math.log(top)
    return -(gate.detach() ** alpha) * x.log_p


def plain_deft(x: Plain) -> Tensor:
    """Wang et al. 2026, arXiv:2602.11424."""
    alpha = x.log_q.exp().square().sum(-1).detach()
    return (1 - x.p**alpha) / alpha


def plain_psft(x: Plain, epsilon: float) -> Tensor:
    """Zhu et al. 2025, arXiv:2508.17784."""
    ratio = x.p / reference_of(x.y).exp()
    return -torch.minimum(ratio, ratio.clamp(1 - epsilon, 1 + epsilon))


def plain_sed(x: Plain, strength: float, top: float, threshold: float) -> Tensor:
    """Chen et al. 2026, arXiv:2602.07464, as its authors' code has it."""
    chosen = x.log_q.exp().topk(int(top)).values.sum(-1) < threshold
    return -x.log_p + strength * chosen.double() * (x.p * (x.p - 1) + 0.25)


def plain_confidence_penalty(x: Plain, strength: float) -> Tensor:
    """Pereyra et al. 2017, arXiv:1701.06548."""
    return -x.log_p + strength * (x.log_q.exp() * x.log_q).sum(-1)


def plain_label_smoothing(x: Plain, epsilon: float) -> Tensor:
    """Szegedy et al. 2015, arXiv:1512.00567, as torch has it."""
    return cross_entropy(x.z, x.y, label_smoothing=epsilon, reduction="none")


def plain_gem_logsigmoid(x: Plain, beta: float, slope: float) -> Tensor:
    """Li et al. 2024, arXiv:2408.16673, with h = log sigmoid."""
    held = torch.softmax(x.z / beta, dim=-1)
    counted = torch.sigmoid(slope * (x.z - x.z.gather(-1, x.y[:, None])))
    return ((held * counted).detach() * (x.log_q - x.log_p[:, None])).sum(-1)


PAPERS: dict[str, Callable[..., Tensor]] = {
    "ce": lambda x: -x.log_p,
    "focal": plain_focal,
    "tofu": plain_tofu,
    "gem": plain_gem,
    "dft": plain_dft,
    "lambda-pr": plain_lambda_pr,
    "p-alpha": plain_p_alpha,
    "eaft": plain_eaft,
    "deft": plain_deft,
    "psft": plain_psft,
    "sed": plain_sed,
    "confidence-penalty": plain_confidence_penalty,
    "label-smoothing": plain_label_smoothing,
    "gem-logsigmoid": plain_gem_logsigmoid,
}

CASES: list[tuple[str, Settings]] = [
    ("ce", {}),
    ("focal", {"gamma": 2.0}),
    ("focal", {"gamma": 0.5}),
    ("tofu", {"gamma": 3.0, "beta": 0.8}),
    ("tofu", {"gamma": 0.0, "beta": 1.7}),
    ("gem", {"beta": 0.7}),
    ("dft", {}),
    ("lambda-pr", {"lam": 0.1, "gamma": 1e-5}),
    ("lambda-pr", {"lam": 0.4, "gamma": 0.2}),
    ("p-alpha", {"alpha": 0.3}),
    ("p-alpha", {"alpha": 10.0}),
    ("eaft", {"alpha": 1.0, "top": 11.0}),
    ("eaft", {"alpha": 0.4, "top": 11.0}),
    ("deft", {}),
    ("psft", {"epsilon": 0.28}),
    ("psft", {"epsilon": 4.0}),
    ("sed", {"strength": 1.0, "top": 2.0, "threshold": 0.95}),
    ("sed", {"strength": 0.7, "top": 1.0, "threshold": 0.99}),
    ("confidence-penalty", {"strength": 0.3}),
    ("label-smoothing", {"epsilon": 0.1}),
    ("gem-logsigmoid", {"beta": 0.7, "slope": 0.01}),
    ("gem-logsigmoid", {"beta": 1.4, "slope": 0.6}),
]
"""Settings are given by name, so that the formulas above never see a default of ours."""

PLAIN_CASES = [
    (name, settings)
    for name, settings in CASES
    if name not in ("confidence-penalty", "label-smoothing", "gem-logsigmoid")
]
"""Those of w and β alone."""

each_case = pytest.mark.parametrize(
    ("name", "settings"), CASES, ids=[f"{name}{list(s.values())}" for name, s in CASES]
)

TOKENS, VOCABULARY = 40, 11


def some_logits(seed: int = 0, rows: int = 3, scale: float = 4.0) -> tuple[Tensor, Tensor]:
    """Float64 logits that make p range from about 1e-9 to 1, and labels without -100."""
    stream = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, TOKENS, VOCABULARY, generator=stream, dtype=torch.float64) * scale
    labels = torch.randint(0, VOCABULARY, (rows, TOKENS), generator=stream)
    return logits.requires_grad_(), labels


def weights_of(spec: LossSpec, logits: Tensor, labels: Tensor) -> Tensor:
    """w, read off the public value: loss / (-β log softmax(z/β)[y])."""
    unweighted = LossSpec("one", lambda s: torch.ones_like(s.log_p), spec.temperature)
    return token_losses(spec, logits, labels) / token_losses(unweighted, logits, labels)


def same(one: Tensor, other: Tensor) -> None:
    """Equal but for the last bit, which a vectorised kernel may round in its own way."""
    torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


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
        "The loss 'odd' gives weights of shape (40, 1) to 40 tokens; expected one a token."
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
