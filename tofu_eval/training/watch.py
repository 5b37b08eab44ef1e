"""Diversity while a model trains: a callback for transformers' trainers and TRL's.

Every so many steps the model in training answers a task's prompts, under the adapter that it has.
The responses go into a run directory, a model a step, which `tofu-eval compare` and `report` read;
their scores go to whatever the trainer reports to. The training itself does not notice: random
states, modes and settings are put back, and the draw has streams of its own.
"""

from __future__ import annotations

import inspect
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig, TrainerCallback
from transformers.trainer_callback import CallbackHandler

from tofu_eval.core.errors import (
    ConfigError,
    ModelError,
    TofuEvalError,
    TrainingError,
)
from tofu_eval.core.types import Task, no_report
from tofu_eval.engines.prompts import Encoder
from tofu_eval.engines.transformers import TransformersEngine
from tofu_eval.importers.training_rows import load_examples
from tofu_eval.pipeline.evaluate import evaluate
from tofu_eval.pipeline.workload import check
from tofu_eval.tasks.formats import load_format
from tofu_eval.training.inputs import encoder_of
from tofu_eval.training.logit_losses import IGNORE, entropy_of
from tofu_eval.training.tokenize import tokenize

METRICS = (
    *("unique_rate", "mean_pairwise_cosine_distance", "vendi", "hill_number_q0_exact"),
    *("entropy_miller_madow_exact", "mean_length"),
)
"""What is watched: of these, cosine distance and Vendi score want an embedding model."""

HELD_OUT_ENTROPY = "held_out_entropy"

HELD_OUT_ROWS = 64
"""Rows of the held-out data that are looked at."""


class DiversityCallback(TrainerCallback):  # type: ignore[misc]
    """Samples from the model in training, scores the samples, logs, and may stop.

    It measures before the first step, every `every` steps and at the last one, and logs
    `diversity/METRIC`, `diversity/held_out_entropy` (nats per learnt token) and what it took,
    `diversity/seconds`.

    Args:
        task: a registered task, the path of a task file, or a `Task`.
        prompts: how many of its prompts are asked.
        samples: responses to each.
        every: optimiser steps between two measurements.
        output: the run directory; `diversity` in the trainer's output directory by default.
        metrics: what is scored.
        held_out: rows as for `train`, on which the model's own entropy is taken.
        stop_below: metrics with what they must not fall below; below it the training ends.
        options: of `evaluate`, such as `format="chat"`, `max_tokens=128`, `temperature=0.8`,
            `embedding={"model": …}`.

    Raises:
        ConfigError: a number below 1, or a metric in `stop_below` that is not measured; when
            training begins, whatever is wrong with task and options, and an output that holds
            another training's samples.
        TrainingError: when training begins, weights that are split over processes.
    """

    def __init__(
        self,
        task: str | Path | Task,
        prompts: int = 20,
        samples: int = 8,
        every: int = 100,
        *,
        output: Path | str | None = None,
        metrics: Sequence[str] = METRICS,
        held_out: Path | str | None = None,
        stop_below: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        for what, value in (("prompts", prompts), ("samples", samples), ("every", every)):
            if value < 1:
                raise ConfigError(f"DiversityCallback: {what} is {value}; expected at least 1.")
        measured = [*metrics, *([HELD_OUT_ENTROPY] if held_out is not None else [])]
        for name in stop_below or {}:
            if name not in measured:
                raise ConfigError(
                    f"stop_below names '{name}', which is not measured. "
                    f"Measured: {', '.join(measured)}"
                )
        self.task = task
        self.every = every
        self.output = None if output is None else Path(output)
        self.held_out = None if held_out is None else str(held_out)
        self.stop_below = dict(stop_below or {})
        self.options = {
            "samples": samples, "limit": prompts, "metrics": tuple(metrics), "format": "base",
            **options,
        }  # fmt: skip
        self._rows: list[tuple[list[int], list[int]]] | None = None
        self._last: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Check everything, then measure the model as it is before the first step."""
        output = self._output_of(args)
        check([self.task], **self.options)
        _check_whole(given["model"])
        if state.global_step == 0:
            if state.is_world_process_zero and (output / "run.json").exists():
                raise ConfigError(
                    f"{output} holds the samples of another training. "
                    "Remove it, or give DiversityCallback another output."
                )
            is_new = state.is_world_process_zero and not output.exists()
            try:
                self._measure(args, state, control, given)
            except TofuEvalError:
                if is_new:  # nothing was trained: the same command, mended, must find no other's
                    shutil.rmtree(output, ignore_errors=True)
                raise

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measure where it is time to."""
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._measure(args, state, control, given)

    def _measure(self, args: Any, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        if self._last == state.global_step:
            return
        self._last = state.global_step
        values: dict[str, float] = {}
        if state.is_world_process_zero:
            start = time.perf_counter()
            with undisturbed(given["model"]):
                values = self._sample(self._output_of(args), state.global_step, given)
            values["seconds"] = time.perf_counter() - start
            logs = {f"diversity/{name}": value for name, value in values.items()}
            _log(args, state, control, logs)
        low = {k: v for k, v in self.stop_below.items() if values.get(k, v) < v}
        if _of_first_process(bool(low)):
            control.should_training_stop = True

    def _sample(self, output: Path, step: int, given: Mapping[str, Any]) -> dict[str, float]:
        tokenizer = given["processing_class"]
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        name = f"step-{step:06d}"
        engine = _ModelInTraining(given["model"], tokenizer, name, step, self.options)
        options = {k: v for k, v in self.options.items() if k not in ENGINE_OPTIONS}
        try:
            result = evaluate({name: engine}, [self.task], output, **options)
        except ModelError as error:
            if "--max-tokens" not in str(error):
                raise
            raise TrainingError(
                f"{error} For a training those flags are a task file's (--watch FILE.yaml, with "
                "`sampling: {max_tokens: …}`), or DiversityCallback(max_tokens=…, too_long='skip')."
            ) from error
        values = {
            row["metric"]: row["value"]
            for row in result.estimates.to_pylist()
            if row["model"] == name and row["value"] is not None
        }
        if self.held_out is not None:
            values[HELD_OUT_ENTROPY] = self._held_out_entropy(given["model"], tokenizer)
        return values

    def _held_out_entropy(self, model: Any, tokenizer: Any) -> float:
        """Mean entropy of the next token, in nats, over what would be learnt of the rows."""
        if self._rows is None:
            examples = load_examples(str(self.held_out)).rows[:HELD_OUT_ROWS]
            format = load_format(self.options["format"])
            encoder = encoder_of("the model in training", model, tokenizer)
            made = tokenize(examples, format, encoder, max_length=None).columns
            self._rows = list(zip(made["input_ids"], made["labels"], strict=True))
        sums, count = 0.0, 0
        for ids, labels in self._rows:
            learnt = torch.tensor(labels[1:]) != IGNORE
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids], device=model.device)).logits
            chosen = logits[0, :-1][learnt.to(logits.device)].float()
            sums += float(entropy_of(chosen.log_softmax(-1)).sum())
            count += int(learnt.sum())
        return sums / max(count, 1)

    def _output_of(self, args: Any) -> Path:
        return self.output or Path(args.output_dir) / "diversity"


ENGINE_OPTIONS = ("batch_size", "chat_template_kwargs")
"""Options of `evaluate` that are the engine's, which is here already."""


class _ModelInTraining(TransformersEngine):
    """The transformers engine on a model that somebody else has loaded."""

    def __init__(
        self, model: Any, tokenizer: Any, name: str, step: int, options: Mapping[str, Any]
    ) -> None:
        self._device = model.device
        self._name = name
        self._rows = self._batch_size = options.get("batch_size", 128)
        self._report = no_report
        kwargs = dict(options.get("chat_template_kwargs") or {})
        self.identity = {"kind": "training", "step": step, "dtype": str(model.dtype)}
        self.record = {"sampler": "tofu-eval, a stream of its own for each row"}
        embeddings = len(model.get_input_embeddings().weight)
        generation = _core(model).generation_config
        self._encoder = Encoder.of(name, tokenizer, model.config, generation, embeddings, kwargs)
        self._ends = self._encoder.ends
        self._there = model, tokenizer

    @property
    def encoders(self) -> dict[str, Encoder]:
        """What the audit asks."""
        return {self._name: self._encoder}

    @property
    def _loaded(self) -> tuple[Any, Any]:
        # What is unset in a request must not be filled from the model's own configuration.
        _core(self._there[0]).generation_config = GenerationConfig()
        return self._there

    def close(self) -> None:
        """Nothing: the model is the trainer's."""


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put the model into evaluation, and put everything back that sampling may have touched."""
    modes = [(module, module.training) for module in model.modules()]
    core = _core(model)
    generation = core.generation_config
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    model.eval()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        core.generation_config = generation
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _core(model: Any) -> Any:
    """The model under the adapter, whose generation configuration counts."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _check_whole(model: Any) -> None:
    for parameter in model.parameters():
        if isinstance(parameter, DTensor) or hasattr(parameter, "ds_id"):
            raise TrainingError(
                "DiversityCallback samples on one process, and the weights are split over several "
                "(FSDP or ZeRO-3). Train with DDP, or measure the checkpoints: tofu-eval run"
            )


def _log(args: Any, state: Any, control: Any, logs: dict[str, float]) -> None:
    """To the trainer's history and to whatever it reports to.

    A Trainer gives a callback no way to log; the handler that is calling has one.
    """
    state.log_history.append({**logs, "step": state.global_step})
    frame = inspect.currentframe()
    while frame is not None and not isinstance(frame.f_locals.get("self"), CallbackHandler):
        frame = frame.f_back
    if frame is None:
        raise TrainingError(
            "DiversityCallback is called by no Trainer of transformers. Give it to one: callbacks="
        )
    due = control.should_log
    frame.f_locals["self"].on_log(args, state, control, logs)
    control.should_log = due  # a log of the trainer's own may be owed at this step


def _of_first_process(value: bool) -> bool:
    """What process 0 says: all stop, or none."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    said = [value]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]
