"""TRL's SFTTrainer with a loss of ours: its data, its options, its launchers, our `compute_loss`.

As a program it is `tofu-eval train`, for launchers that want a module:

    accelerate launch -m tofu_eval.training.sft --model … --data … --output …
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from tofu_eval.core.errors import TrainingError
from tofu_eval.core.types import Report
from tofu_eval.training.lm_head import LossOutput, add_fused_loss, check_head, has_adapter
from tofu_eval.training.loss_probes import looks_at_places
from tofu_eval.training.losses import LossSpec
from tofu_eval.training.no_waiting import SUPERVISED, LateNumber, SupervisedCollator
from tofu_eval.training.reference import COLUMN, add_reference

MEANS = ("cross_entropy", "mean_weight", "entropy", "mean_token_accuracy")
"""What is logged beside the loss, per supervised token."""

SHOWN_ROWS = 8
"""Rows that a message names at most."""


class ReportProgress(TrainerCallback):  # type: ignore[misc]
    """Tells a `Report` how far a training is, in optimiser steps."""

    def __init__(self, stage: str, report: Report) -> None:
        self.stage = stage
        self.report = report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer."""
        self.on_step_end(args, state, control)  # the time of the first step counts too

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer."""
        if state.is_world_process_zero:
            self.report(self.stage, state.global_step, state.max_steps)


class FusedSFTTrainer(SFTTrainer):  # type: ignore[misc]
    """An `SFTTrainer` whose loss is a LossSpec, computed without the full logits.

    Everything else is TRL's: data, packing, PEFT, accumulation, evaluation, checkpoints. It logs
    `loss`, and per supervised token `cross_entropy` (nats, comparable between losses),
    `mean_weight`, `entropy` (nats) and `mean_token_accuracy`, over all processes and all tokens
    since the last log.

    Args:
        spec: the loss.
        arguments: as in `SFTTrainer`. A column `row` of the training set, where there is one,
            names the rows in messages.

    Raises:
        TrainingError: something would compute another loss than the one asked for; or, while
            training, the loss is not finite.
    """

    _tag_names = ("trl", "sft", "tofu-eval")

    def __init__(self, *args: Any, spec: LossSpec, **arguments: Any) -> None:
        self.spec = spec
        self._given = arguments.get("train_dataset")
        super().__init__(*args, **arguments)
        model = self.accelerator.unwrap_model(self.model)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._check_nothing_else(base)
        check_head(base)
        add_fused_loss(base, spec)
        if spec.reference and not has_adapter(base):
            add_reference(self, base)
        self.remove_callback(PrinterCallback)  # it writes to stdout, which is for results
        self._sums: dict[str, Tensor] = {}
        self._seen: Tensor | None = None
        self._pending: tuple[LateNumber, str, Mapping[str, Any]] | None = None
        self.args.logging_nan_inf_filter = False  # it waits in each step for what we look at anyway
        if not self._is_cut_on_the_way():
            self.data_collator: Any = SupervisedCollator(self.data_collator)

    def _is_cut_on_the_way(self) -> bool:
        """Whether batches are cut along their first dimension for several devices."""
        data = (self.train_dataset, *_datasets(self.eval_dataset))
        streams = any(isinstance(x, IterableDataset) for x in data)
        return self.args.n_gpu > 1 or streams or bool(self.accelerator.dispatch_batches)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss per supervised token of the whole batch, accumulated parts and ranks too."""
        if self.aux_loss_enabled:
            inputs = {**inputs, "output_router_logits": True}
        sums: LossOutput = model(**inputs, fused_loss=True)
        items = sums.tokens if num_items_in_batch is None else num_items_in_batch
        loss = sums.loss / torch.as_tensor(items, device=sums.loss.device).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The items are those of every rank, and DDP averages the ranks' gradients.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        if self.aux_loss_enabled:
            parts = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
            loss = loss + self.router_aux_loss_coef * sums.aux_loss / parts
        self._check_finite(loss, inputs)
        self._count("train" if self.model.training else "eval", sums, inputs)
        if not return_outputs:
            return loss
        with torch.no_grad():  # for compute_metrics, which wants logits
            ours = ("labels", COLUMN, SUPERVISED)
            plain = {name: value for name, value in inputs.items() if name not in ours}
            return loss, model(**plain)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with means over all supervised tokens since the last one."""
        self.check_pending()
        mode = "train" if self.model.training else "eval"
        if mode in self._sums:
            for name, value in self._means(mode).items():
                self._metrics[mode][name] = [value]
        if "train_loss" in logs and "train" in self._sums:  # the summary, after an evaluation
            logs.update(self._means("train"))
        if self._seen is not None:
            seen, self._seen = self.accelerator.reduce(self._seen, "sum"), None
            self._total_train_tokens += int(seen) // self._tp_size
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        super().log(logs, start_time)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if COLUMN not in self._signature_columns:
            self._signature_columns.append(COLUMN)

    def _means(self, mode: str) -> dict[str, float]:
        """Means per supervised token since the last log, over all processes."""
        *sums, supervised = self.accelerator.reduce(self._sums.pop(mode), "sum").tolist()
        return {name: x / max(supervised, 1.0) for name, x in zip(MEANS, sums, strict=True)}

    def _count(self, mode: str, sums: LossOutput, inputs: Mapping[str, Any]) -> None:
        values = (sums.cross_entropy, sums.weight, sums.entropy, sums.correct, sums.tokens)
        new = torch.stack([x.detach().double() for x in values])
        self._sums[mode] = self._sums[mode] + new if mode in self._sums else new
        if mode == "train":
            mask = inputs.get("attention_mask")
            seen = torch.as_tensor(inputs["input_ids"].numel()) if mask is None else mask.sum()
            seen = seen.to(self.accelerator.device, non_blocking=True)
            self._seen = seen if self._seen is None else self._seen + seen

    def _check_finite(self, loss: Tensor, inputs: Mapping[str, Any]) -> None:
        """On CUDA it is looked at when the next loss is on its way, before a log and a save."""
        self.check_pending()
        where = f"step {self.state.global_step + 1} of {self.state.max_steps}"
        number = LateNumber(loss)
        self._pending = number, where if self.model.training else "an evaluation", inputs
        if not number.is_late:
            self.check_pending()

    def check_pending(self) -> None:
        """Look at the last loss, if nobody has yet.

        Raises:
            TrainingError: it is not finite.
        """
        if self._pending is None:
            return
        (number, where, inputs), self._pending = self._pending, None
        loss = number.read()
        if not math.isfinite(loss):
            raise TrainingError(
                f"Training stopped at {where}: the loss is {loss}, expected a finite "
                f"number. The batch holds {self._rows_of(inputs)}. Try a smaller learning rate "
                "(--lr) or float32 (bf16: false), and look at these rows. Checkpoints are kept; if "
                "--resume stops here again, delete the newest."
            )

    def _save_checkpoint(self, *args: Any, **more: Any) -> None:
        """The Trainer's, of a model whose last loss was finite."""
        self.check_pending()
        super()._save_checkpoint(*args, **more)

    def _rows_of(self, inputs: Mapping[str, Any]) -> str:
        """The rows of the training set that a batch is made of, in words.

        Found by their tokens, since neither packing nor TRL's collator keeps numbers.
        """
        documents = _documents(inputs)
        row_of: dict[tuple[int, ...], int] = {}
        prepared = (self.train_dataset, self._given)
        data = next((d for d in prepared if _has_rows(d)), None)
        if data is not None:
            rows = data["row"] if _has(data, "row") else range(len(data))
            for row, ids in zip(rows, data["input_ids"], strict=True):
                row_of.setdefault(tuple(ids[: self.args.max_length]), row)
        row_numbers = [row_of[document] for document in documents if document in row_of]
        if len(row_numbers) == len(documents):
            shown = ", ".join(map(str, sorted(row_numbers)[:SHOWN_ROWS]))
            return f"the data's rows {shown}{' …' if len(row_numbers) > SHOWN_ROWS else ''}"
        texts = [self._tokenizer.decode(document)[:40] for document in documents[:SHOWN_ROWS]]
        return "texts that begin with " + ", ".join(map(repr, texts))

    def _check_nothing_else(self, base: Any) -> None:
        """No other loss than ours: whatever would compute one is named."""
        parallel = self.accelerator.parallelism_config
        split = self.args.packing and self.args.packing_strategy != "bfd"
        forwards = (type(base).forward, getattr(base.forward, "__wrapped__", None))
        problem = None
        if self.compute_loss_func is not None:
            problem = "compute_loss_func is set. Leave it out, or use TRL's own SFTTrainer"
        elif self.args.loss_type != "nll":
            problem = f"loss_type is '{self.args.loss_type}'. Leave it out and name a --loss"
        elif self.args.label_smoothing_factor:
            problem = "label_smoothing_factor is set. Leave it out"
        elif self.args.use_liger_kernel or any(
            (getattr(f, "__module__", None) or "").startswith("liger_kernel") for f in forwards
        ):
            problem = "a Liger patch is active. Leave use_liger_kernel out and patch nothing"
        elif parallel is not None and (parallel.sp_enabled or parallel.cp_enabled):
            problem = "the sequence is split over devices. Leave sequence parallelism out"
        elif split and looks_at_places(self.spec):
            problem = (
                f"packing_strategy '{self.args.packing_strategy}' loses where a completion begins. "
                "Use the strategy 'bfd'"
            )
        if problem:
            raise TrainingError(f"The loss '{self.spec.name}' cannot be computed: {problem}.")


def _has_rows(data: Any) -> bool:
    """Whether these are rows as they were given: not packed, and no stream."""
    return isinstance(data, Dataset) and _has(data, "input_ids") and not _has(data, "seq_lengths")


def _has(data: Dataset, column: str) -> bool:
    return column in data.column_names


def _documents(inputs: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The token ids of each document of a batch, padding left out."""
    ids, positions = inputs["input_ids"], inputs.get("position_ids")
    if positions is None:
        mask = inputs["attention_mask"].bool()
        return [tuple(row[keep].tolist()) for row, keep in zip(ids, mask, strict=True)]
    starts = (positions.flatten() == 0).nonzero().flatten().tolist()
    flat = ids.flatten().tolist()
    ends = [*starts[1:], len(flat)]
    return [tuple(flat[a:b]) for a, b in zip(starts, ends, strict=True)]


def _datasets(given: Any) -> list[Any]:
    """One evaluation set, several by name, or none."""
    return list(given.values()) if isinstance(given, Mapping) else [given]


if __name__ == "__main__":
    import runpy
    import sys

    sys.argv[0] = "tofu-eval train"
    sys.argv.insert(1, "train")
    runpy.run_module("tofu_eval.cli", run_name="__main__")
