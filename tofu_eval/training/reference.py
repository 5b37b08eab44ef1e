"""A reference model's log-probabilities as a column of the data: the model before it is trained.

Made once, before the first step, on the rows as they will be trained on, cut and packed. Where an
adapter is trained, its base is there all the time, and no column is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset, Value
from datasets import Sequence as Listed
from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from tofu_eval.core.errors import TrainingError
from tofu_eval.training.lm_head import body_of, head_of, label_log_p

COLUMN = "reference"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ReferenceCollator:
    """TRL's collator, with the column beside the labels.

    Args:
        collate: TRL's, which pads on the right or puts rows one behind another.
    """

    collate: Callable[[Rows], dict[str, Tensor]]

    def __call__(self, rows: Rows) -> dict[str, Tensor]:
        """A batch."""
        plain = [{name: v for name, v in row.items() if name != COLUMN} for row in rows]
        batch = self.collate(plain)
        values = [torch.as_tensor(row[COLUMN], dtype=torch.float32) for row in rows]
        if len(batch["labels"]) != len(values):
            values = [torch.cat(values)]
        column = torch.zeros(batch["labels"].shape)
        for line, own in zip(column, values, strict=True):
            line[: len(own)] = own
        return {**batch, COLUMN: column}


def add_reference(trainer: Any, base: Any) -> None:
    """Give a trainer's data sets the column, made with the model as it is, and a collator for it.

    Args:
        trainer: a `FusedSFTTrainer` before its training.
        base: its model.

    Raises:
        TrainingError: the data are a stream, the weights are not whole in every process, or the
            collator is another than TRL's.
    """
    _check(trainer, base)
    evaluation = trainer.eval_dataset
    trainer.train_dataset = _with_column(trainer, base, trainer.train_dataset)
    if isinstance(evaluation, Mapping):
        trainer.eval_dataset = {
            name: _with_column(trainer, base, part) for name, part in evaluation.items()
        }
    elif evaluation is not None:
        trainer.eval_dataset = _with_column(trainer, base, evaluation)
    trainer.data_collator = ReferenceCollator(trainer.data_collator)


def _check(trainer: Any, base: Any) -> None:
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    several = trainer.accelerator.num_processes > 1
    problem = None
    if any(hasattr(parameter, "ds_id") for parameter in base.parameters()):
        problem = "the weights are split (ZeRO-3)"
    elif several and plugin is not None and plugin.cpu_ram_efficient_loading:
        problem = "one process alone has loaded the weights (fsdp_cpu_ram_efficient_loading)"
    elif not isinstance(trainer.data_collator, DataCollatorForLanguageModeling):
        problem = f"the collator is a {type(trainer.data_collator).__name__}, which may pad anyhow"
    if problem:
        raise TrainingError(
            f"The loss '{trainer.spec.name}' looks at the model before training, and "
            f"{problem}. Train an adapter (--lora-r), whose base is the reference."
        )


def _with_column(trainer: Any, base: Any, data: Any) -> Dataset:
    if not isinstance(data, Dataset):
        raise TrainingError(
            f"The loss '{trainer.spec.name}' looks at the model before training, and the data are "
            "a stream. Train an adapter (--lora-r), whose base is the reference, or read the data "
            "first."
        )
    own = range(trainer.accelerator.process_index, len(data), trainer.accelerator.num_processes)
    size = trainer.args.per_device_train_batch_size
    values: list[tuple[int, list[float]]] = []
    was_training = base.training
    base.eval()
    for start in range(0, len(own), size):
        places = own[start : start + size]
        rows = [data[place] for place in places]
        with torch.no_grad(), trainer.compute_loss_context_manager():
            found = _log_p(base, trainer.data_collator(rows), [len(r["input_ids"]) for r in rows])
        values += zip(places, found, strict=True)
    base.train(was_training)
    column = [one for _, one in sorted(gather_object(values))]
    return data.add_column(COLUMN, column, feature=Listed(Value("float32")))


def _log_p(base: Any, batch: dict[str, Any], lengths: Sequence[int]) -> list[list[float]]:
    """log p of each token of the rows of a batch, 0 where it is not learnt."""
    inputs = {k: v.to(base.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
    labels = inputs.pop("labels")[:, 1:]
    states = body_of(base)(**inputs, use_cache=False).last_hidden_state[:, :-1]
    head = head_of(base)
    found = label_log_p(states.to(head.weight.device), head, labels.to(head.weight.device))
    whole = torch.cat([found.new_zeros(len(found), 1), found], dim=1).cpu()
    if len(whole) != len(lengths):  # one behind another
        return [row.tolist() for row in whole[0].split(list(lengths))]
    return [row[:length].tolist() for row, length in zip(whole, lengths, strict=True)]
