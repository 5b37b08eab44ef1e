"""The losses in transformers' own Trainer."""

from __future__ import annotations

import pytest
import torch
from transformers import Trainer, TrainingArguments

from tofu_eval.core.errors import ConfigError, TrainingError
from tofu_eval.training import tofu_loss, trainer_loss
from tofu_eval.training.logit_losses import mean_loss
from tofu_eval.training.losses import gem, tofu


def rows() -> list[dict[str, list[int]]]:
    ids = torch.randint(3, 61, (24, 9), generator=torch.Generator().manual_seed(1))
    return [
        {"input_ids": row.tolist(), "labels": [-100] * (i % 4 + 1) + row[i % 4 + 1 :].tolist()}
        for i, row in enumerate(ids)
    ]


def losses(model, tmp_path, *, size: int, parts: int) -> list[float]:
    args = TrainingArguments(
        str(tmp_path), max_steps=4, per_device_train_batch_size=size, use_cpu=True,
        gradient_accumulation_steps=parts, report_to="none", logging_steps=1, disable_tqdm=True,
        save_strategy="no", seed=0, learning_rate=1e-3, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=rows(), compute_loss_func=tofu_loss(2.0, 0.9))
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_accumulated_parts_are_the_whole_batch(make_model, tmp_path):
    whole = losses(make_model("llama"), tmp_path, size=6, parts=1)
    parts = losses(make_model("llama"), tmp_path, size=2, parts=3)
    assert parts == pytest.approx(whole, rel=1e-4)
    assert len(set(whole)) == 4


def test_it_is_the_loss_on_shifted_labels(make_model):
    model = make_model("llama").eval()
    ids = torch.randint(3, 61, (2, 9))
    labels = ids.clone()
    labels[:, :3] = -100
    outputs = model(input_ids=ids)
    expected = mean_loss(tofu(2.0, 0.9), outputs.logits[:, :-1], labels[:, 1:]).loss
    assert torch.equal(tofu_loss(2.0, 0.9)(outputs, labels), expected)
    assert torch.equal(tofu_loss(2.0, 0.9)({"logits": outputs.logits}, labels), expected)
    half = tofu_loss(2.0, 0.9)(outputs, labels, num_items_in_batch=torch.tensor(24))
    torch.testing.assert_close(2 * half, expected)


def test_any_loss_will_do(make_model):
    outputs = make_model("llama")(input_ids=torch.tensor([[4, 5, 6]]))
    labels = torch.tensor([[4, 5, 6]])
    value = trainer_loss(gem())(outputs, labels)
    assert value == mean_loss(gem(), outputs.logits[:, :-1], labels[:, 1:]).loss


def test_bad_settings_and_batches(make_model):
    with pytest.raises(ConfigError, match=r"tofu: beta is 0\.0; expected a finite number > 0"):
        tofu_loss(beta=0.0)
    outputs = make_model("llama")(input_ids=torch.tensor([[4, 5, 6]]))
    with pytest.raises(TrainingError, match="no supervised token"):
        tofu_loss()(outputs, torch.full((1, 3), -100))
