from __future__ import annotations

import copy
import math
import os
import re
from collections import Counter
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tofu_eval.core.errors import ConfigError, TrainingError
from tofu_eval.training import fused
from tofu_eval.training.distribution_losses import confidence_penalty, psft
from tofu_eval.training.fused import FusedReport
from tofu_eval.training.logit_losses import LossReport, Places, completion_places, mean_loss
from tofu_eval.training.losses import LOSSES, LossSpec, ce, lambda_pr, tofu
from tofu_eval.training.no_waiting import SupervisedCollator, flat_places

ROWS, TOKENS, WIDTH, VOCABULARY = 3, 23, 12, 71

FLOAT32 = float(os.environ.get("FLOAT32_TOLERANCE", "1e-6"))
"""Largest error in float32, over the largest entry; the kernels' is set by test_kernels.py."""

SPECS = {entry.name: LOSSES.get(entry.name)() for entry in LOSSES.entries()}
SPECS["lambda-pr"] = lambda_pr(0.4, 0.2)  # the default drops nearly every token here
SPECS["psft"] = psft(4.0)


def mostly_onehot(log_q: Tensor, y: Tensor) -> Tensor:
    onehot = torch.nn.functional.one_hot(y, log_q.shape[-1]).to(log_q.dtype)
    return 0.2 * (log_q / 2).softmax(-1) + 0.8 * onehot


SPECS["plug-in"] = LossSpec(
    "plug-in",
    lambda stats: 1 / (1 - stats.log_p) + stats.collision * stats.top.exp().sum(-1),
    1.3,
    entropy=lambda stats: 0.1 * stats.entropy,
    target=mostly_onehot,
    top=3,
)
"""Every registered loss with its defaults, and one that nothing here has heard of."""

HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "softcap": {"softcap": 30.0},
    "scale": {"scale": 0.25},
    "all": {"bias": True, "softcap": 5.0, "scale": 0.25},
}

each_loss = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def reference_of(labels: Tensor) -> Tensor:
    """What a reference model might think of each label."""
    return -(labels % 7).double() / 2 - 0.1


def fused_loss(spec: LossSpec, hidden: Tensor, weight: Tensor, y: Tensor, **more: Any) -> Any:
    return fused.fused_loss(spec, hidden, weight, y, reference=reference_of(y), **more)


class Case:
    """Hidden states, a head and labels with a prompt, a hole and padding.

    Logits are up to about 20, and the targets' probabilities from near 0 to near 1.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, bias: bool = False, **head: float):
        stream = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        def leaf(x: Tensor) -> Tensor:
            return x.to(dtype).requires_grad_()

        weight = normal(VOCABULARY, WIDTH)
        self.labels = torch.randint(0, VOCABULARY, (ROWS, TOKENS), generator=stream)
        help_given = torch.rand(ROWS, TOKENS, 1, generator=stream, dtype=torch.float64)
        self.hidden = leaf(normal(ROWS, TOKENS, WIDTH) * 0.7 + help_given * weight[self.labels])
        self.weight = leaf(weight)
        self.bias = leaf(2 * normal(VOCABULARY)) if bias else None
        self.labels[0, :5] = self.labels[1, 9:12] = self.labels[2, 17:] = -100
        self.head = head

    @property
    def leaves(self) -> list[Tensor]:
        return [x for x in (self.hidden, self.weight, self.bias) if x is not None]

    def fused(self, spec: LossSpec, **settings: Any) -> FusedReport:
        settings = {"bias": self.bias, **self.head, **settings}
        return fused_loss(spec, self.hidden, self.weight, self.labels, **settings)

    def logits(self) -> Tensor:
        z = self.hidden @ self.weight.T
        z = (z if self.bias is None else z + self.bias) * self.head.get("scale", 1.0)
        softcap = self.head.get("softcap")
        return z if softcap is None else softcap * torch.tanh(z / softcap)

    def plain(self, spec: LossSpec, **settings: Any) -> LossReport:
        settings = {"reference": reference_of(self.labels), **settings}
        return mean_loss(spec, self.logits(), self.labels, **settings)

    def in_float64(self) -> Case:
        """The same numbers, rounded already if this case is in half precision."""
        other = copy.copy(self)
        for name in ("hidden", "weight", "bias"):
            x = getattr(self, name)
            setattr(other, name, None if x is None else x.detach().double().requires_grad_())
        return other

    def backward(self, loss: Tensor) -> list[Tensor]:
        loss.backward()
        grads = [x.grad for x in self.leaves]
        for x in self.leaves:
            x.grad = None
        return grads


def close(ours: Any, plain: Any, tolerance: float) -> None:
    """Equal up to `tolerance` times the largest entry."""
    ours, plain = ours.detach().double(), plain.detach().double()
    assert plain.abs().max() > 0
    torch.testing.assert_close(ours, plain, rtol=0, atol=tolerance * plain.abs().max().item())


def equals_plain(case: Case, spec: LossSpec, tolerance: float, **settings: Any) -> None:
    exact = case.in_float64()
    ours, plain = case.fused(spec, **settings), exact.plain(spec)
    for field in ("loss", "cross_entropy", "mean_weight"):
        close(getattr(ours, field), getattr(plain, field), tolerance)
    grads, expected = case.backward(ours.loss), exact.backward(plain.loss)
    for one, other, x in zip(grads, expected, case.leaves, strict=True):
        assert one.dtype == x.dtype
        close(one, other, tolerance)


class Watch(TorchDispatchMode):
    """Counts matrix products and remembers the largest tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0
        self.shapes: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        if isinstance(out, Tensor) and not func.is_view:
            self.shapes[tuple(out.shape)] += 1
        return out


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


@each_loss
def test_the_full_logits_are_never_made(spec):
    case = Case(bias=True, softcap=30.0)
    with Watch() as watch:
        case.fused(spec, chunk=7).loss.backward()
    assert watch.shapes[(7, VOCABULARY)] > 0
    assert max(math.prod(shape) for shape in watch.shapes) < 55 * VOCABULARY / 4
    assert watch.products == 3 * math.ceil(55 / 7)


def test_a_frozen_head_costs_no_gradient():
    case = Case(bias=True)
    trained = case.backward(case.fused(tofu(), chunk=7).loss)[0]
    case.weight.requires_grad_(False)
    case.bias.requires_grad_(False)
    with Watch() as watch:
        case.fused(tofu(), chunk=7).loss.backward()
    assert case.weight.grad is None
    assert case.bias.grad is None
    assert (VOCABULARY, WIDTH) not in watch.shapes
    assert watch.products == 2 * math.ceil(55 / 7)
    assert torch.equal(case.hidden.grad, trained)


def test_evaluation_costs_no_gradient():
    case = Case()
    trained = case.fused(tofu(), chunk=7).loss
    with torch.no_grad(), Watch() as watch:
        loss = case.fused(tofu(), chunk=7).loss
    assert watch.products == math.ceil(55 / 7)
    assert not loss.requires_grad
    assert torch.equal(loss, trained)


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


def test_inputs_are_not_mutated():
    case = Case(bias=True, softcap=5.0, scale=0.25)
    places = completion_places(case.labels)
    inputs = [*case.leaves, case.labels, places.position, places.length]
    before = [x.detach().clone() for x in inputs]
    case.fused(tofu(), places=places, chunk=7).loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))


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


@pytest.mark.parametrize("spec", [tofu(), confidence_penalty(), SPECS["plug-in"]])
def test_a_token_that_cannot_come_leaves_all_finite(spec):
    case = Case(bias=True)
    with torch.no_grad():
        case.bias[3] = -math.inf
    case.labels[case.labels == 3] = 4
    report = case.fused(spec, chunk=7)
    assert all(x.isfinite() for x in (report.loss, report.entropy, report.cross_entropy))
    assert all(grad.isfinite().all() for grad in case.backward(report.loss))


def test_a_weight_of_the_wrong_shape_is_named():
    scalar = LossSpec("scalar", lambda stats: stats.log_p.sum())
    with pytest.raises(TrainingError, match=r"'scalar' gives weights of shape \(\) to 55 tokens"):
        Case().fused(scalar)


TINY = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}

MODELS: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "llama": ("Llama", {**TINY, **ATTENTION}, {}),
    "qwen-tied": ("Qwen2", {**TINY, **ATTENTION, "tie_word_embeddings": True}, {}),
    "gemma": ("Gemma2", {**TINY, **ATTENTION, "final_logit_softcapping": 2.0}, {"softcap": 2.0}),
    "gpt-neox": ("GPTNeoX", {**TINY, "num_attention_heads": 4}, {}),
    "cohere": ("Cohere", {**TINY, **ATTENTION, "logit_scale": 0.25}, {"scale": 0.25}),
}
"""Architecture, its settings, and what the fused head has to be told about it."""

each_model = pytest.mark.parametrize("model", MODELS, indirect=True)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> tuple[Any, dict[str, float]]:
    name, settings, head = MODELS[request.param]
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = getattr(transformers, f"{name}Config")(**settings, **tokens, initializer_range=0.15)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = getattr(transformers, f"{name}ForCausalLM")(config)
    return made.eval(), head


def a_batch() -> dict[str, Tensor]:
    """Two rows of next-token labels, aligned; a prompt in both, padding in the second."""
    ids = torch.randint(3, 97, (2, 13), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = ids.roll(-1, dims=1).masked_fill(mask.roll(-1, dims=1) == 0, -100)
    labels[:, :3] = labels[:, -1] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def loss_of(model: Any, spec: LossSpec, batch: dict[str, Tensor], **head: float) -> FusedReport:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    return fused_loss(
        spec, hidden, model.get_output_embeddings().weight, batch["labels"], **head, chunk=4
    )


class HeadInFloat64(torch.autograd.Function):
    """The loss by the plain formula of a head in float64, on the hidden states of any model."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, spec: LossSpec, labels: Tensor, head: Any
    ) -> Tensor:
        inputs = [x.detach().double().requires_grad_() for x in (hidden, weight)]
        with torch.enable_grad():
            z = inputs[0] @ inputs[1].T * head.get("scale", 1.0)
            if "softcap" in head:
                z = head["softcap"] * torch.tanh(z / head["softcap"])
            loss = mean_loss(spec, z, labels, reference=reference_of(labels)).loss
            grads = torch.autograd.grad(loss, inputs)
        ctx.save_for_backward(*(x.to(hidden.dtype) for x in grads))
        return loss.detach().to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return *(upstream * x for x in ctx.saved_tensors), None, None, None


@each_loss
@each_model
def test_through_a_whole_model(spec, model):
    """The value against the model in float64; the gradients against a head in float64 on the same
    float32 layers, which alone are up to 9e-7 off where the head is tied."""
    model, head = model
    batch = a_batch()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits = copy.deepcopy(model).double()(**inputs).logits
        plain = mean_loss(spec, logits, batch["labels"], reference=reference_of(batch["labels"]))
    other = copy.deepcopy(model)
    hidden = other.base_model(**inputs, use_cache=False).last_hidden_state
    weight = other.get_output_embeddings().weight
    HeadInFloat64.apply(hidden, weight, spec, batch["labels"], head).backward()

    ours = loss_of(model, spec, batch, **head)
    ours.loss.backward()

    close(ours.loss, plain.loss, FLOAT32)
    expected = dict(other.named_parameters())
    largest = max(x.grad.abs().max().item() for x in expected.values())
    for name, x in model.named_parameters():
        torch.testing.assert_close(
            x.grad, expected[name].grad, rtol=0, atol=FLOAT32 * largest, msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gemma"], indirect=True)
def test_torch_compile_runs_and_changes_nothing(model, monkeypatch):
    model, head = model
    compiled = torch.compile(
        lambda batch: loss_of(model, tofu(), batch, **head).loss, backend="aot_eager"
    )
    traced = []
    choose = fused.choose_tile
    monkeypatch.setattr(
        fused,
        "choose_tile",
        lambda *given: traced.append(torch.compiler.is_compiling()) or choose(*given),
    )
    for ignored in (3, 5, 6, 8):  # another number of tokens, and of tiles, each time
        batch = a_batch()
        batch["labels"][:, :ignored] = -100
        loss = compiled(batch)
        loss.backward()
        grads = [x.grad.clone() for x in model.parameters()]
        model.zero_grad()
        plain = loss_of(model, tofu(), batch, **head).loss
        plain.backward()
        torch.testing.assert_close(loss, plain)
        for one, x in zip(grads, model.parameters(), strict=True):
            torch.testing.assert_close(one, x.grad)
        model.zero_grad()
    assert traced
    assert not any(traced)


class Waits(TorchDispatchMode):
    """Remembers what would make the host wait for a device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(x, Tensor) and x.dtype == torch.bool
            for x in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if name.startswith(self.NAMES) or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_with_the_places_given_no_step_waits_for_the_device(monkeypatch):
    """Labels and idle rows are only looked at on a CPU, where there is nothing to wait for."""
    monkeypatch.setattr(fused, "_check_labels", lambda *_: None)
    monkeypatch.setattr("tofu_eval.training.products._without_idle_rows", lambda p: (p, p.place))
    case, places = Case(bias=True), completion_places(Case().labels)
    index = (case.labels.flatten() != -100).nonzero().squeeze(1)
    expected = case.backward(case.fused(tofu()).loss)
    spec = tofu()
    case.backward(case.fused(spec).loss)  # a loss is looked at once
    with Waits() as waits:
        grads = case.backward(case.fused(spec, places=places, supervised=index, chunk=7).loss)
    assert waits.found == []
    for one, other in zip(grads, expected, strict=True):
        close(one, other, FLOAT32)
    with Waits() as waits:
        case.fused(spec)
    assert "nonzero" in waits.found


def test_the_collator_says_where_there_is_something_to_learn():
    labels = torch.tensor([[-100, 5, -100, 7], [3, -100, -100, 2]])
    batch = SupervisedCollator(lambda rows: {"labels": labels})([])
    shifted = labels[:, 1:]
    assert flat_places(batch["supervised"], shifted).tolist() == [0, 2, 5]
    # what an adapter puts before a row moves its beginning only
    longer = torch.cat([torch.full((2, 3), -100), labels], 1)[:, 1:]
    assert longer.flatten()[flat_places(batch["supervised"], longer)].tolist() == [5, 7, 2]


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


def test_rows_that_weigh_nothing_are_left_out_of_the_products():
    spec = LossSpec("even", lambda stats: (stats.position % 2 == 0).to(stats.log_p.dtype))
    rows: list[int] = []

    class Rows(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
                rows.append(args[-2].shape[0] if args[-1].shape[0] == VOCABULARY else 0)
            return func(*args, **(kwargs or {}))

    case = Case()
    with Rows():
        case.fused(spec, chunk=1000).loss.backward()
    kept = int((completion_places(case.labels).position[case.labels != -100] % 2 == 0).sum())
    assert kept in rows
    assert 55 not in rows
    equals_plain(Case(bias=True), spec, FLOAT32, chunk=7)
    equals_plain(Case(torch.float16), spec, 2.5e-3, chunk=7)


def test_evaluation_makes_no_gradient_of_a_tile():
    case = Case()
    with torch.no_grad(), Watch() as watch:
        case.fused(confidence_penalty(), chunk=7)
    in_evaluation = watch.shapes[(7, VOCABULARY)]
    with Watch() as watch:
        case.fused(confidence_penalty(), chunk=7)
    assert in_evaluation < watch.shapes[(7, VOCABULARY)]
