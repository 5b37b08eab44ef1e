"""What the fused loss does not make, does not multiply and does not wait for."""

from __future__ import annotations

import math
import runpy

import torch
from support.doc_pages import ROOT
from support.fused_cases import (
    FLOAT32,
    VOCABULARY,
    WIDTH,
    Case,
    Watch,
    close,
    each_loss,
    equals_plain,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tofu_eval.training import fused, tiles
from tofu_eval.training.distribution_losses import confidence_penalty
from tofu_eval.training.logit_losses import completion_places
from tofu_eval.training.losses import LossSpec, tofu
from tofu_eval.training.no_waiting import SupervisedCollator, flat_places


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


def test_evaluation_makes_no_gradient_of_a_tile():
    case = Case()
    with torch.no_grad(), Watch() as watch:
        case.fused(confidence_penalty(), chunk=7)
    in_evaluation = watch.shapes[(7, VOCABULARY)]
    with Watch() as watch:
        case.fused(confidence_penalty(), chunk=7)
    assert in_evaluation < watch.shapes[(7, VOCABULARY)]


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
    """Labels, idle rows and logits of -inf are only looked at on a CPU, where there is nothing to
    wait for."""
    monkeypatch.setattr(fused, "_check_labels", lambda *_: None)
    monkeypatch.setattr(tiles, "_moments", tiles._dots)
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


def test_the_tables_of_the_docs_are_what_is_counted():
    count = runpy.run_path(str(ROOT / "benchmarks" / "loss_model.py"))
    said = (ROOT / "docs" / "losses.md").read_text()
    rates = count["H100_BANDWIDTH"], count["H100_FLOPS"]
    for table in (count["table"], count["choices"]):
        assert "\n".join(table(count["Step"](), *rates)) in said
