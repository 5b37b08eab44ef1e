"""The reference column: what the model said of each token before it was trained."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig

from tofu_eval.core.errors import TrainingError
from tofu_eval.training import FusedSFTTrainer, train, train_settings
from tofu_eval.training.distribution_losses import psft

ROWS = {
    "input_ids": [[3, 4, 5, 6, 7], [8, 9, 10], [11, 12, 13, 14]],
    "labels": [[-100, 4, 5, 6, 7], [-100, -100, 10], [-100, 12, -100, 14]],
}


def make_trainer(model: Any, tokenizer: Any, output: Path, **more: Any) -> FusedSFTTrainer:
    fields = {
        "max_steps": 3, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "use_cpu": True,
        "report_to": "none", "bf16": False, "save_strategy": "no", "disable_tqdm": True,
        "dataloader_pin_memory": False, "logging_steps": 1, "max_length": 16,
    }  # fmt: skip
    data = {name: more.pop(name) for name in ("train_dataset", "eval_dataset") if name in more}
    collator = {name: more.pop(name) for name in ("data_collator",) if name in more}
    return FusedSFTTrainer(
        model, SFTConfig(str(output), **{**fields, **more}), spec=psft(),
        processing_class=tokenizer, **collator,
        **{"train_dataset": Dataset.from_dict(ROWS), **data},
    )  # fmt: skip


def log_p_of(model: Any, ids: list[int], labels: list[int]) -> list[float]:
    with torch.no_grad():
        all_of = model.eval()(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [
        0.0 if i == 0 or label == -100 else all_of[i - 1, label].item()
        for i, label in enumerate(labels)
    ]


@pytest.mark.parametrize("packing", [False, True])
def test_the_column_is_the_models_before_training(packing, small, tokenizer, tmp_path):
    before = copy.deepcopy(small)
    held_out = Dataset.from_dict({name: part[:1] for name, part in ROWS.items()})
    trainer = make_trainer(small, tokenizer, tmp_path, packing=packing, eval_dataset=held_out)
    by_ids = dict(zip(map(tuple, ROWS["input_ids"]), ROWS["labels"], strict=True))
    seen = 0
    for row in trainer.train_dataset:
        lengths = row.get("seq_lengths") or [len(row["input_ids"])]
        start = 0
        for length in lengths:
            ids = row["input_ids"][start : start + length]
            expected = log_p_of(before, ids, by_ids[tuple(ids)])
            found = row["reference"][start : start + length]
            assert found == pytest.approx(expected, abs=1e-5)
            start, seen = start + length, seen + 1
    assert seen == 3
    assert "reference" in trainer.eval_dataset.column_names

    assert trainer.evaluate()["eval_mean_weight"] == pytest.approx(1.0, abs=1e-5)
    trainer.train()
    first, *_, last = (entry for entry in trainer.state.log_history if "mean_weight" in entry)
    assert first["mean_weight"] == pytest.approx(1.0, abs=1e-5)  # nothing has been gained yet
    assert last["mean_weight"] != pytest.approx(1.0, abs=1e-2)


def test_what_has_no_column_is_refused(small, tokenizer, tmp_path):
    stream = Dataset.from_dict(ROWS).to_iterable_dataset()
    with pytest.raises(TrainingError, match="before training, and the data are a stream"):
        make_trainer(small, tokenizer, tmp_path, train_dataset=stream)
    with pytest.raises(TrainingError, match="the collator is a function, which may pad anyhow"):
        make_trainer(small, tokenizer, tmp_path, data_collator=lambda rows: rows)


@pytest.mark.slow
def test_a_resumed_training_looks_at_the_model_before_its_first_step(base, rows, tmp_path):
    """Not at the checkpoint that it goes on from: the last losses are equal to the bit."""
    fields = {
        "model": str(base), "data": str(rows), "loss": "psft", "format": "base", "save_steps": 4,
        "learning_rate": 1e-2, "logging_steps": 1, "per_device_train_batch_size": 4,
        "gradient_checkpointing": False, "lr_scheduler_type": "constant",
    }  # fmt: skip
    whole = train(train_settings({**fields, "output": tmp_path / "a", "max_steps": 8}))
    train(train_settings({**fields, "output": tmp_path / "b", "max_steps": 4}))
    longer = train_settings({**fields, "output": tmp_path / "b", "max_steps": 8})
    again = train(longer, resume=True)
    assert again.steps == 8
    assert again.final["loss"] == whole.final["loss"]
    assert again.final["mean_weight"] == whole.final["mean_weight"] != 1.0
