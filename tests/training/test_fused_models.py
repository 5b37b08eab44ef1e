"""The fused loss through whole models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from support.fused_cases import FLOAT32, close, each_loss, fused_loss, reference_of
from torch import Tensor

from tofu_eval.training import fused
from tofu_eval.training.fused import FusedReport
from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import LossSpec, tofu

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
