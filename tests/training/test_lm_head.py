"""The fused loss inside whole models: every architecture's head, padding, packing, PEFT."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import transformers
from support.architectures import ARCHITECTURES, SIZES
from torch import Tensor

from tofu_eval.core.errors import TrainingError
from tofu_eval.training import fused
from tofu_eval.training.distribution_losses import psft
from tofu_eval.training.lm_head import add_fused_loss, check_head, head_of
from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import LOSSES, LossSpec, lambda_pr, tofu

SPECS = {entry.name: LOSSES.get(entry.name)() for entry in LOSSES.entries()}
SPECS["lambda-pr"] = lambda_pr(0.4, 0.2)  # the default drops nearly every token here
SPECS["psft"] = psft(4.0)

each_loss = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
each_model = pytest.mark.parametrize("name", ARCHITECTURES)


def batch() -> dict[str, Tensor]:
    """Three rows with a prompt, padding on the right, and a hole in a completion."""
    ids = torch.randint(3, 61, (3, 14), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 11:] = mask[2, 8:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :4] = labels[0, 8:10] = -100
    reference = -(ids % 7) / 2 - 3.0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "reference": reference}


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    found = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def plain(model: Any, spec: LossSpec, inputs: dict[str, Tensor]) -> Tensor:
    """The formula on the full logits of the same model, in float64."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    reference = inputs["reference"][:, 1:]
    labels = inputs["labels"][:, 1:]
    return mean_loss(spec, logits[:, :-1], labels, reference=reference, num_items=1).loss


@each_model
@each_loss
def test_value_and_gradients_equal_the_plain_formula(name, spec, make_model, monkeypatch):
    """Float32 against float64, over all weights; tiles of 7 tokens do not divide."""
    model = make_model(name).eval()
    exact = copy.deepcopy(model).double()
    expected = plain(exact, spec, batch())
    wanted = gradients(exact, -2.5 * expected)

    monkeypatch.setattr(
        "tofu_eval.training.lm_head.fused_loss", lambda *a, **k: fused.fused_loss(*a, **k, chunk=7)
    )
    add_fused_loss(model, spec)
    found = model(**batch(), fused_loss=True)
    assert found.tokens.item() == int((batch()["labels"][:, 1:] != -100).sum())
    torch.testing.assert_close(found.loss.double(), expected.double(), rtol=1e-6, atol=0)
    got = gradients(model, -2.5 * found.loss)
    assert got.keys() == wanted.keys()
    largest = max(grad.abs().max().item() for grad in wanted.values())
    for key, grad in wanted.items():
        torch.testing.assert_close(got[key], grad, rtol=0, atol=1e-6 * largest, msg=key)


@each_model
@pytest.mark.parametrize("spec", [SPECS["tofu"], SPECS["lambda-pr"]], ids=["tofu", "lambda-pr"])
def test_bfloat16(name, spec, make_model):
    """Against the plain formula on the same model's own bfloat16 logits: 2 % of the loss."""
    model = make_model(name).eval().bfloat16()
    with torch.no_grad():
        expected = plain(model, spec, batch())
        add_fused_loss(model, spec)
        found = model(**batch(), fused_loss=True).loss
    torch.testing.assert_close(found.float(), expected.float(), rtol=2e-2, atol=0)


@each_model
def test_the_check_knows_this_head(name, make_model):
    model = make_model(name)
    training = model.training
    check_head(model)
    assert model.training == training


@each_model
@each_loss
def test_packed_documents_are_what_they_are_alone(name, spec, make_model, monkeypatch):
    """One row, positions that start again, no mask: TRL's padding-free form; tiles of 5 tokens.

    The norms of Gemma and Cohere are worked out in float32, whatever a model's dtype is.
    """
    model = make_model(name).double().eval()
    monkeypatch.setattr(
        "tofu_eval.training.lm_head.fused_loss", lambda *a, **k: fused.fused_loss(*a, **k, chunk=5)
    )
    add_fused_loss(model, spec)
    inputs = batch()
    apart = gradients(model, model(**inputs, fused_loss=True).loss)
    rows = [
        (inputs["input_ids"][i][keep], inputs["labels"][i][keep], inputs["reference"][i][keep])
        for i, keep in enumerate(inputs["attention_mask"].bool())
    ]
    labels = torch.cat([row[1] for row in rows])[None]
    packed = {
        "input_ids": torch.cat([row[0] for row in rows])[None],
        "position_ids": torch.cat([torch.arange(len(row[0])) for row in rows])[None],
        "reference": torch.cat([row[2] for row in rows])[None],
        "labels": labels.masked_fill(torch.cat([torch.arange(len(r[0])) for r in rows]) == 0, -100),
    }
    together = gradients(model, model(**packed, fused_loss=True).loss)
    largest = max(grad.abs().max().item() for grad in apart.values())
    tolerance = 1e-6 if name in ("gemma2", "cohere") else 1e-12
    for key, grad in apart.items():
        torch.testing.assert_close(together[key], grad, rtol=0, atol=tolerance * largest)


def test_without_the_keyword_it_is_the_models_own_forward(make_model):
    model = make_model("llama").eval()
    inputs = {"input_ids": batch()["input_ids"]}
    before = model(**inputs).logits
    add_fused_loss(model, tofu())
    assert torch.equal(model(**inputs).logits, before)
    made = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert made.shape == (3, 16)


def test_a_lora_adapter_leaves_the_head_without_a_gradient(make_model):
    import peft

    model = make_model("llama")
    config = peft.LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", r=2)
    wrapped = peft.get_peft_model(model, config)
    add_fused_loss(wrapped.get_base_model(), tofu())
    wrapped(**batch(), fused_loss=True).loss.backward()
    assert head_of(model).weight.grad is None
    assert any(p.grad is not None for n, p in wrapped.named_parameters() if "lora_B" in n)


def test_a_head_that_is_saved_whole_is_the_one_that_is_trained(make_model):
    import peft

    model = make_model("llama")
    config = peft.LoraConfig(
        target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM", r=2
    )
    wrapped = peft.get_peft_model(model, config)
    add_fused_loss(wrapped.get_base_model(), tofu())
    wrapped(**batch(), fused_loss=True).loss.backward()
    trained = {n for n, p in wrapped.named_parameters() if p.grad is not None and "lm_head" in n}
    assert trained == {"base_model.model.lm_head.modules_to_save.default.weight"}


def test_an_adapter_on_the_head_is_refused(make_model):
    import peft

    config = peft.LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM", r=2)
    wrapped = peft.get_peft_model(make_model("llama"), config)
    with pytest.raises(TrainingError, match=r"An adapter sits on the LM head, .* modules_to_save"):
        head_of(wrapped.get_base_model())


def test_an_unknown_head_is_refused(make_model):
    model = make_model("llama")
    plain_forward = model.forward

    def shifted(*args: Any, **inputs: Any) -> Any:
        outputs = plain_forward(*args, **inputs)
        outputs.logits = outputs.logits * 1.5
        return outputs

    model.forward = shifted
    message = "does not know what LlamaForCausalLM does between its LM head and its logits: they"
    with pytest.raises(TrainingError, match=re.escape(message)):
        check_head(model)


def test_a_model_without_a_head_is_refused(make_model):
    with pytest.raises(TrainingError, match="LlamaModel has no LM head"):
        head_of(make_model("llama").model)


def test_llama_4_whose_base_is_not_where_others_have_it():
    sizes = {"num_key_value_heads": 2, "head_dim": 8, "intermediate_size_mlp": 32}
    config = transformers.Llama4TextConfig(**{**SIZES, **sizes, "num_local_experts": 2})
    torch.manual_seed(0)
    model = transformers.Llama4ForCausalLM(config).eval()
    check_head(model)
    expected = plain(model, tofu(), batch())
    add_fused_loss(model, tofu())
    torch.testing.assert_close(model(**batch(), fused_loss=True).loss, expected)


def test_the_base_under_an_adapter_is_the_reference(make_model):
    import peft

    model = make_model("llama")
    config = peft.LoraConfig(
        target_modules="all-linear", task_type="CAUSAL_LM", r=2, init_lora_weights=False,
        lora_dropout=0.5,
    )  # fmt: skip
    inputs = batch()
    del inputs["reference"]
    with torch.no_grad():
        log_q = model.eval()(inputs["input_ids"], inputs["attention_mask"]).logits.log_softmax(-1)
    given = torch.zeros(inputs["labels"].shape)
    y = inputs["labels"][:, 1:].clamp(min=0)
    given[:, 1:] = log_q[:, :-1].gather(-1, y[..., None])[..., 0]

    wrapped = peft.get_peft_model(model, config).eval()
    add_fused_loss(wrapped.get_base_model(), psft())
    found = wrapped(**inputs, fused_loss=True)
    wanted = wrapped(**inputs, reference=given, fused_loss=True)
    torch.testing.assert_close(found.loss, wanted.loss)
    assert found.weight < found.tokens  # some gained too much, and are left alone
    found.loss.backward()
    assert all(p.grad is not None for n, p in wrapped.named_parameters() if "lora_" in n)
    wrapped.train()(**inputs, fused_loss=True)
    assert wrapped.training
