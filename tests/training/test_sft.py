"""The trainer beside TRL's own: the same steps, the same accounting, and no other loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from tofu_eval.core.errors import TrainingError
from tofu_eval.lab import data, world
from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import LOSSES, LossSpec, ce, lambda_pr, tofu
from tofu_eval.training.sft import FusedSFTTrainer

QUIET = {
    "bf16": False, "gradient_checkpointing": False, "report_to": "none", "use_cpu": True,
    "save_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False,
    "logging_steps": 1, "max_length": 64, "seed": 1, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture
def columns(tokenizer: Any) -> dict[str, list[Any]]:
    documents = data.sft_documents(0, world.SEEN, 4)
    made = data.encode(tokenizer, documents, learn_prompt=False)
    return {**made, "row": list(range(1, len(documents) + 1))}


@pytest.fixture
def trained(tmp_path: Path, tokenizer: Any, columns: dict[str, list[Any]]) -> Any:
    """Train a copy of a model: `trained(Trainer, model, spec=..., packing=True)`."""

    def run(kind: type, model: Any, *, peft_config: Any = None, more: Any = None, **fields: Any):
        import copy

        ours = {name: fields.pop(name) for name in ("spec",) if name in fields}
        args = SFTConfig(str(tmp_path), **{**QUIET, "max_steps": 20, **fields})
        trainer = kind(
            copy.deepcopy(model), args, processing_class=tokenizer, peft_config=peft_config,
            **{"train_dataset": Dataset.from_dict(columns), **(more or {})}, **ours,
        )  # fmt: skip
        trainer.train()
        return trainer

    return run


def log(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if "loss" in entry]


def same_weights(one: Any, other: Any, tolerance: float) -> None:
    theirs = dict(other.model.named_parameters())
    for name, weight in one.model.named_parameters():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 3},
        {"per_device_train_batch_size": 2, "packing": True},
        {"per_device_train_batch_size": 4, "gradient_checkpointing": True},
    ],
    ids=["plain", "accumulation", "packing", "checkpointing"],
)
def test_tofu_without_focus_and_temper_is_trls_nll_for_20_steps(trained, small, fields):
    theirs = trained(SFTTrainer, small, **fields)
    ours = trained(FusedSFTTrainer, small, spec=tofu(gamma=0.0, beta=1.0), **fields)
    assert len(log(ours, "loss")) == 20
    for name in ("loss", "grad_norm", "num_tokens"):
        assert log(ours, name) == pytest.approx(log(theirs, name), rel=1e-4)
    assert log(ours, "cross_entropy") == pytest.approx(log(ours, "loss"), rel=1e-5)
    # Adam divides by the gradient's size: where that is nothing but rounding, a step may differ.
    same_weights(ours, theirs, 1e-4)


def test_dft_is_trls_dft(trained, small):
    theirs = trained(SFTTrainer, small, loss_type="dft", per_device_train_batch_size=8)
    ours = trained(FusedSFTTrainer, small, spec=LOSSES.get("dft")(), per_device_train_batch_size=8)
    assert log(ours, "loss") == pytest.approx(log(theirs, "loss"), rel=1e-4)


def test_a_stream_is_what_its_rows_are(trained, small, columns):
    fields = {
        "per_device_train_batch_size": 4, "max_steps": 5, "train_sampling_strategy": "sequential",
    }  # fmt: skip
    rows = Dataset.from_dict(columns)
    of_rows = trained(FusedSFTTrainer, small, spec=tofu(), **fields)
    stream = {"train_dataset": rows.to_iterable_dataset(), "eval_dataset": {"same": rows}}
    streamed = trained(FusedSFTTrainer, small, spec=tofu(), more=stream, **fields)
    assert log(streamed, "loss") == log(of_rows, "loss")
    same_weights(streamed, of_rows, 0.0)


@pytest.mark.parametrize("name", ["ce", "tofu", "gem"])
def test_accumulated_parts_are_the_whole_batch(trained, small, name):
    """Parts of unequal numbers of tokens: a mean of their means would be another loss."""
    spec = LOSSES.get(name)()
    whole = trained(FusedSFTTrainer, small, spec=spec, per_device_train_batch_size=8, max_steps=3)
    parts = trained(
        FusedSFTTrainer, small, spec=spec, per_device_train_batch_size=2,
        gradient_accumulation_steps=4, max_steps=3,
    )  # fmt: skip
    for metric in ("loss", "cross_entropy", "mean_weight", "entropy", "mean_token_accuracy"):
        assert log(parts, metric) == pytest.approx(log(whole, metric), rel=1e-4, abs=1e-6)


def test_means_are_over_all_tokens_since_the_last_log(trained, small):
    fields = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 0.0}
    each = trained(FusedSFTTrainer, small, spec=tofu(), **fields)
    once = trained(FusedSFTTrainer, small, spec=tofu(), logging_steps=4, **fields)
    assert len(log(once, "loss")) == 1
    # The loss is tokens' mean of each step; that of four steps is not the mean of the means.
    values = log(each, "mean_weight")
    assert min(values) < log(once, "mean_weight")[0] < max(values)
    assert log(once, "num_tokens")[0] == log(each, "num_tokens")[-1]


def test_tokens_are_counted_to_an_evaluation_between_two_logs(trained, small, columns):
    fields = {
        "per_device_train_batch_size": 4, "max_steps": 4, "logging_steps": 4,
        "eval_strategy": "steps", "eval_steps": 2,
    }  # fmt: skip
    held_out = {"eval_dataset": Dataset.from_dict(columns).select(range(4))}
    theirs = trained(SFTTrainer, small, more=held_out, **fields)
    ours = trained(FusedSFTTrainer, small, spec=ce(), more=held_out, **fields)
    one, other = (
        [entry["eval_num_tokens"] for entry in x.state.log_history if "eval_loss" in entry]
        for x in (ours, theirs)
    )
    assert one == other
    assert one[0] < one[1]


def test_evaluation_gives_the_same_loss(tmp_path, tokenizer, columns, small):
    results = []
    for kind, more in ((SFTTrainer, {}), (FusedSFTTrainer, {"spec": ce()})):
        args = SFTConfig(str(tmp_path), **QUIET, per_device_eval_batch_size=5)
        data_set = Dataset.from_dict(columns)
        trainer = kind(
            small, args, train_dataset=data_set, eval_dataset=data_set,
            processing_class=tokenizer, **more,
        )  # fmt: skip
        results.append(trainer.evaluate())
    assert results[1]["eval_loss"] == pytest.approx(results[0]["eval_loss"], rel=1e-5)
    # transformers takes the mean of the batches' means, ours is over tokens.
    with torch.no_grad():
        total, tokens = 0.0, 0
        for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True):
            logits = small(input_ids=torch.tensor([ids])).logits
            report = mean_loss(ce(), logits[:, :-1], torch.tensor([labels])[:, 1:], num_items=1)
            total, tokens = total + report.loss.item(), tokens + sum(x != -100 for x in labels)
    assert results[1]["eval_cross_entropy"] == pytest.approx(total / tokens, rel=1e-5)


def test_a_mixture_of_experts_keeps_its_own_loss(trained, tokenizer):
    config = transformers.MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
        output_router_logits=True, router_aux_loss_coef=0.5, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MixtralForCausalLM(config)
    fields = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 3}
    theirs = trained(SFTTrainer, model, **fields)
    ours = trained(FusedSFTTrainer, model, spec=ce(), **fields)
    assert log(ours, "loss") == pytest.approx(log(theirs, "loss"), rel=1e-4)
    assert log(ours, "loss")[0] > log(ours, "cross_entropy")[0] + 0.1


def test_lora_trains_the_adapter_alone(trained, small):
    import peft

    config = peft.LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", r=2)
    trainer = trained(FusedSFTTrainer, small, spec=tofu(), peft_config=config, max_steps=5)
    trainable = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    frozen = dict(small.named_parameters())
    for name, weight in trainer.model.get_base_model().named_parameters():
        if name in frozen:
            assert torch.equal(weight, frozen[name])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss_type": "dft"}, "loss_type is 'dft'. Leave it out and name a --loss"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is set. Leave it out"),
        (
            {"packing": True, "packing_strategy": "wrapped"},
            "packing_strategy 'wrapped' loses where a completion begins. Use the strategy 'bfd'",
        ),
        (
            {"packing": True, "packing_strategy": "bfd_split"},
            "packing_strategy 'bfd_split' loses where a completion begins. Use the strategy 'bfd'",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_another_loss_is_refused(trained, small, fields, words):
    with pytest.raises(TrainingError) as caught:
        trained(FusedSFTTrainer, small, spec=lambda_pr(), **fields)
    assert str(caught.value) == f"The loss 'lambda-pr' cannot be computed: {words}."


def test_wrapped_packing_is_fine_for_a_loss_that_does_not_count_places(trained, small):
    trainer = trained(
        FusedSFTTrainer, small, spec=tofu(), packing=True, packing_strategy="wrapped", max_steps=2,
        per_device_train_batch_size=2,
    )  # fmt: skip
    assert len(log(trainer, "loss")) == 2


def test_a_liger_patch_on_the_class_is_refused(trained, small, monkeypatch):
    def lce_forward(self: Any, *args: Any, **inputs: Any) -> Any: ...

    lce_forward.__module__ = "liger_kernel.transformers.model.llama"
    plain = type(small).forward
    small.forward = plain.__get__(small)  # so that the check of the head passes
    monkeypatch.setattr(type(small), "forward", lce_forward)
    with pytest.raises(TrainingError, match=r"a Liger patch is active\. Leave use_liger"):
        trained(FusedSFTTrainer, small, spec=ce())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_compute_loss_func_is_refused(trained, small):
    with pytest.raises(TrainingError, match="The loss 'tofu' cannot be computed: compute_loss_fu"):
        trained(
            FusedSFTTrainer, small, spec=tofu(), more={"compute_loss_func": lambda *a, **k: None}
        )


@pytest.mark.parametrize("packing", [False, True])
def test_a_loss_that_is_not_finite_stops_with_step_and_rows(
    trained, small, columns, monkeypatch, packing
):
    calls = []
    for asks_too in ("check_alone", "looks_at_collision"):
        monkeypatch.setattr(f"tofu_eval.training.fused.{asks_too}", lambda *_: False)

    def breaks(stats: Any) -> torch.Tensor:
        calls.append(1)
        bad = math.nan if len(calls) > 2 else 1.0
        return torch.ones_like(stats.log_p) * bad

    with pytest.raises(TrainingError) as caught:
        trained(
            FusedSFTTrainer, small, spec=LossSpec("breaks", breaks), packing=packing,
            per_device_train_batch_size=2,
        )  # fmt: skip
    said = str(caught.value)
    assert said.startswith("Training stopped at step 3 of 20: the loss is nan, expected a finite")
    assert "Try a smaller learning rate (--lr) or float32" in said
    rows = said.partition("holds the data's rows ")[2].partition(". ")[0]
    numbers = [int(part) for part in rows.replace(" …", "").split(", ")]
    assert len(numbers) == 2 or (packing and len(numbers) > 2)
    assert set(numbers) <= set(columns["row"])
