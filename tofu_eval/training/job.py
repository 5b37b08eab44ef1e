"""One training from its settings to a checkpoint: checked, resumable, whole or not at all.

`training.json` stands beside the checkpoint: what was asked for, the prompt format (which
`tofu-eval run` picks up), and the log. It is written last, so that status "complete" means it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import EarlyStoppingCallback, TrainerCallback

from tofu_eval.core.disk import is_of_the_disk
from tofu_eval.core.errors import ConfigError, StoreError, TofuEvalError, say_error
from tofu_eval.core.hub import quiet
from tofu_eval.core.memory import free_memory, is_out_of_memory
from tofu_eval.core.models import TRAINED, ResolvedModel, parse_model, resolve
from tofu_eval.core.termination import finishing, is_asked, leave_if_asked
from tofu_eval.core.types import Report, no_report
from tofu_eval.engines.prompts import Encoder
from tofu_eval.importers.training_rows import Examples, content_digest
from tofu_eval.run import provenance
from tofu_eval.run.files import TEMPORARY, hold_lock, write_json
from tofu_eval.run.store import conflict
from tofu_eval.tasks.formats import Format
from tofu_eval.training import trl_config as arguments
from tofu_eval.training.checkpoints import (
    read_manifest,
    remove_leftovers,
    step_of,
    whole_checkpoints,
)
from tofu_eval.training.inputs import (
    check_positions,
    choose_format,
    describe_inputs,
    encoder_of,
    load_held_out,
    load_training_rows,
    tokenize_rows,
)
from tofu_eval.training.loading import load_model
from tofu_eval.training.losses import LOSSES, LossSpec
from tofu_eval.training.settings import TrainSettings, train_settings
from tofu_eval.training.sft import FusedSFTTrainer, ReportProgress
from tofu_eval.training.tokenize import Learn, Tokenized
from tofu_eval.training.watch import METRICS, DiversityCallback


@dataclass(frozen=True)
class TrainResult:
    """A finished training: the checkpoint, its last log entry, the whole log, and remarks."""

    path: Path
    steps: int
    final: Mapping[str, float | None]
    log: tuple[Mapping[str, float | None], ...]
    notes: tuple[str, ...] = ()


def train_model(
    model: str,
    data: Path | str | Sequence[str | Mapping[str, Any]],
    output: Path | str,
    *,
    loss: str = "tofu",
    loss_settings: Mapping[str, float] | None = None,
    eval_data: Path | str | Mapping[str, str] | None = None,
    format: str | None = None,
    learn: Learn = "all",
    lora: Mapping[str, Any] | None = None,
    quantize: Literal["none", "nf4"] = "none",
    sft: Mapping[str, Any] | None = None,
    resume: bool = False,
    report: Report = no_report,
) -> TrainResult:
    """Fine-tune a model with a registered loss; what `tofu-eval train` calls.

    Args:
        model: the base: a directory, a Hub id (`@revision`) or BASE+ADAPTER.
        data: JSONL, Parquet or a Hub data set; or several, with weights: {"path": …, "weight": …}.
        output: where the checkpoint goes.
        loss: the name of a loss; `tofu-eval losses list` has all.
        loss_settings: its numbers, such as {"gamma": 3.0, "beta": 0.8}.
        eval_data: held-out rows; or several such sets by name.
        format: base, sft, chat or a .jinja file; saved with the checkpoint. By default chat for
            conversations on a model with a chat template, else sft.
        learn: all turns of the assistant, or the last of each conversation.
        lora: settings of peft's LoraConfig, such as {"r": 16}; None trains all weights.
        quantize: whether the base's weights are held in 4 bits, for LoRA on a CUDA GPU.
        sft: fields of TRL's SFTConfig, such as {"learning_rate": 1e-4, "max_steps": 100}.
        resume: go on from the newest whole checkpoint under `output`, if there is one.
        report: told about progress as (stage, done, total), in optimiser steps.

    Raises:
        TofuEvalError: as `train`.
    """
    fields = {
        "model": model,
        "data": str(data) if isinstance(data, Path) else data,
        "output": Path(output),
        "loss": loss,
        "loss_settings": dict(loss_settings or {}),
        "eval_data": str(eval_data) if isinstance(eval_data, Path) else eval_data,
        "format": format,
        "learn": learn,
        "lora": None if lora is None else dict(lora),
        "quantize": quantize,
        "sft": dict(sft or {}),
    }
    return train(train_settings(fields), resume=resume, report=report)


def train(
    settings: TrainSettings, *, resume: bool = False, report: Report = no_report
) -> TrainResult:
    """Fine-tune a model with a registered loss; called again when finished, it only reads.

    Args:
        settings: what to train, on what, how, and where the checkpoint goes.
        resume: go on from the newest whole checkpoint under `settings.output`, if there is one.
        report: told about progress as (stage, done, total), in optimiser steps.

    Raises:
        TofuEvalError: anything wrong with settings, model or data, before training begins; a loss
            that is not finite, a full disk or memory, with the checkpoints so far kept.
    """
    spec = LOSSES.get(settings.loss)(**settings.loss_settings)
    arguments.check_hardware(settings)
    resolved = resolve(parse_model(f"model={settings.model}"))
    args = arguments.sft_config(settings)
    examples = load_training_rows(settings, args.seed)
    held_out = load_held_out(settings.eval_data)
    format = choose_format(settings, examples, resolved, args.chat_template_path)
    _check_together(settings, resolved, args)
    state = PartialState()
    asked = {
        "model": dict(resolved.identity),
        "data": content_digest(examples.rows),
        "eval_data": {name: content_digest(part.rows) for name, part in held_out.items()},
        "loss": settings.loss,
        "loss_settings": dict(settings.loss_settings),
        "format": format.digest,
        "learn": settings.learn,
        "lora": settings.lora,
        "quantize": settings.quantize,
        "early_stopping": settings.early_stopping,
        "settings": arguments.learnt_with(settings),
        "processes": state.num_processes,
    }
    job = _Job(settings, json.loads(json.dumps(asked)), format, report)
    read_manifest(settings.output)  # a folder that is not a training's is left as it is
    with hold_lock(settings.output) if state.is_main_process else nullcontext():
        with state.main_process_first():
            done = job.read_finished(resume)
            checkpoint = None if done else job.checkpoint(resume)
            if done is None and state.is_main_process:
                job.begin(checkpoint, examples.identity)
        result = done or job.run(spec, resolved, args, examples, held_out, checkpoint)
    free_memory()  # a trainer and its model hold each other
    return result


LENGTHS = {"num_train_epochs": 3.0, "max_steps": -1}
"""The fields of SFTConfig that say how long a training is, with TRL's defaults."""


@dataclass
class _Job:
    """A training and its directory."""

    settings: TrainSettings
    asked: dict[str, Any]
    format: Format
    report: Report

    @property
    def path(self) -> Path:
        return self.settings.output

    def read_finished(self, resume: bool) -> TrainResult | None:
        """What an earlier call made, if it made all of it and was asked for the same.

        A finished training that is asked for more epochs or steps goes on, if it may resume.
        """
        manifest = read_manifest(self.path)
        if manifest is None:
            return None
        if resume and manifest["status"] == "complete" and self._wants_more(manifest["asked"]):
            return None
        if manifest["status"] == "complete" or whole_checkpoints(self.path):
            conflict(self.path, TRAINED, manifest["asked"], self.asked)
        if manifest["status"] != "complete":
            return None
        return _result(self.path, manifest)

    def _wants_more(self, before: Mapping[str, Any]) -> bool:
        """Whether this asks for what was asked before, but for longer."""
        old, new = before["settings"], self.asked["settings"]
        longer = any(new.get(n, d) > old.get(n, d) for n, d in LENGTHS.items())
        if not longer:
            return False
        kept = [{k: v for k, v in one.items() if k not in LENGTHS} for one in (old, new)]
        conflict(
            self.path, TRAINED, {**before, "settings": kept[0]}, {**self.asked, "settings": kept[1]}
        )
        if not whole_checkpoints(self.path):
            raise StoreError(
                f"{self.path} is finished and has no checkpoint to go on from. "
                "Train on its result: --model with a new --output."
            )
        return True

    def checkpoint(self, resume: bool) -> Path | None:
        """The newest whole checkpoint to go on from."""
        checkpoints = whole_checkpoints(self.path)
        if checkpoints and not resume:
            raise StoreError(
                f"{self.path} holds an unfinished training, with a checkpoint at step "
                f"{step_of(checkpoints[-1])}. Add --resume to go on, or use a new --output."
            )
        return checkpoints[-1] if checkpoints else None

    def begin(self, checkpoint: Path | None, source: Mapping[str, Any]) -> None:
        """Put the directory in order, as a process that was killed may not have."""
        remove_leftovers(self.path)
        self.write("running", source=source)
        if checkpoint is not None and not (checkpoint / TRAINED).exists():
            self.write("checkpoint", checkpoint, steps=step_of(checkpoint))

    def write(self, status: str, folder: Path | None = None, **more: Any) -> None:
        """Write training.json, here or into the folder of a checkpoint."""
        before = read_manifest(self.path) or {}
        manifest = {
            **before,
            "status": status,
            "asked": self.asked,
            "format": {"name": self.format.name, "template": self.format.template},
            "model": self.settings.model,
            "tool": provenance.tool(),
            "versions": provenance.versions(),
            "started": before.get("started", provenance.now()),
            **more,
        }
        write_json((folder or self.path) / TRAINED, manifest)

    def run(
        self,
        spec: LossSpec,
        resolved: ResolvedModel,
        args: Any,
        examples: Examples,
        held_out: Mapping[str, Examples],
        checkpoint: Path | None,
    ) -> TrainResult:
        """Train, save, and say so."""
        main = PartialState().is_main_process
        with quiet():
            model, tokenizer = load_model(resolved, self.settings, args)
            encoder = encoder_of(self.settings.model, model, tokenizer)
            tokenized = self._tokenize(examples, encoder, args)
            check_positions(tokenized, model, args.max_length)
            notes = describe_inputs(examples, tokenized, self.settings, self.format, args)
            evaluation = {
                name: Dataset.from_dict(self._tokenize(part, encoder, args).columns)
                for name, part in held_out.items()
            }
            args.assistant_only_loss = False  # obeyed by now: TRL gets labels
            trainer = self._trainer(spec, model, tokenizer, args, tokenized, evaluation)
            with arguments.explain_failures():
                with finishing(), _explain_checkpoint(checkpoint, trainer):
                    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                    leave_if_asked()
                self._save(trainer)
        log = [_finite(entry) for entry in trainer.state.log_history]
        if main:
            self.write(
                "complete", steps=trainer.state.global_step, log=log, notes=notes,
                finished=provenance.now(),
            )  # fmt: skip
        return _result(self.path, {"steps": trainer.state.global_step, "log": log, "notes": notes})

    def _tokenize(self, examples: Examples, encoder: Encoder, args: Any) -> Tokenized:
        date = str((read_manifest(self.path) or {}).get("started", ""))[:10]
        return tokenize_rows(examples, self.settings, self.format, encoder, args, date)

    def _trainer(
        self,
        spec: LossSpec,
        model: Any,
        tokenizer: Any,
        args: Any,
        made: Tokenized,
        evaluation: Mapping[str, Dataset],
    ) -> Any:
        progress = ReportProgress(f"train {self.path.name}", self.report)
        try:
            return FusedSFTTrainer(
                model,
                args,
                spec=spec,
                train_dataset=Dataset.from_dict(made.columns),
                eval_dataset=evaluation.get("", dict(evaluation)) or None,
                processing_class=tokenizer,
                peft_config=arguments.lora_config(self.settings),
                callbacks=[
                    progress,
                    _KeepFormat(self),
                    _LeaveIfAsked(),
                    *self._watching(),
                    *self._stopping(),
                ],
            )
        except (ValueError, TypeError, ImportError, AttributeError, RuntimeError) as error:
            raise ConfigError(f"TRL refuses this: {say_error(error)}") from error

    def _watching(self) -> list[DiversityCallback]:
        settings = self.settings
        if settings.watch is None:
            return []
        return [
            DiversityCallback(
                settings.watch,
                every=settings.watch_every,
                output=self.path / "diversity",
                metrics=settings.watch_metrics or METRICS,
                held_out=_one_source(settings.eval_data),
                format=settings.format or self.format.name,
            )
        ]

    def _stopping(self) -> list[TrainerCallback]:
        patience = self.settings.early_stopping
        return [] if patience is None else [EarlyStoppingCallback(patience)]

    def _save(self, trainer: Any) -> None:
        """The checkpoint's files appear one by one under their names, each whole."""
        _check_alive(trainer)
        folder = self.path / f"{TEMPORARY}final"
        if PartialState().is_main_process and folder.exists():  # of a process that was killed
            shutil.rmtree(folder)
        trainer.save_model(str(folder))
        if PartialState().is_main_process:
            for file in sorted(folder.iterdir()):
                file.replace(self.path / file.name)
            folder.rmdir()


def _one_source(given: str | Mapping[str, str] | None) -> str | None:
    """The first of the evaluation sets."""
    return given if given is None or isinstance(given, str) else next(iter(given.values()), None)


def _check_together(settings: TrainSettings, resolved: ResolvedModel, args: Any) -> None:
    """Settings that are fine alone.

    Raises:
        ConfigError: they do not go together.
    """
    if settings.lora is not None and resolved.adapter is not None:
        raise ConfigError(
            f"'{settings.model}' has an adapter already. Leave --lora-r out to train on it, or "
            "merge it into its base first."
        )
    if settings.eval_data and str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
        raise ConfigError(
            "eval_data is given, but nothing would use it. Add eval_strategy: steps (or epoch)."
        )


def _check_alive(trainer: Any) -> None:
    """One look at the model as it is after the last update, which no loss has seen."""
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        trainer.compute_loss(trainer.model_wrapped, batch)
        trainer.check_pending()


class _KeepFormat(TrainerCallback):  # type: ignore[misc]
    """Leaves training.json, which names the prompt format, in every checkpoint."""

    def __init__(self, job: _Job) -> None:
        self.job = job

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = self.job.path / f"checkpoint-{state.global_step}"
            self.job.write("checkpoint", folder, steps=state.global_step)


class _LeaveIfAsked(TrainerCallback):  # type: ignore[misc]
    """On SIGTERM a checkpoint is saved after the step in flight, and training stops."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if is_asked():
            control.should_save = control.should_training_stop = True
        return control


def _result(path: Path, manifest: Mapping[str, Any]) -> TrainResult:
    entries = [entry for entry in manifest["log"] if "loss" in entry]
    # A training of a few steps has no entry but the summary.
    last = entries[-1] if entries else manifest["log"][-1]
    return TrainResult(
        path,
        manifest["steps"],
        {"loss": last.get("train_loss"), **last},
        tuple(manifest["log"]),
        tuple(manifest.get("notes", ())),
    )


@contextmanager
def _explain_checkpoint(checkpoint: Path | None, trainer: Any) -> Iterator[None]:
    """Say of what fails before the first step that it is the checkpoint: it may hold anything."""
    try:
        yield
    except Exception as error:  # what it holds is read by libraries
        began = checkpoint is None or trainer.state.global_step > step_of(checkpoint)
        ours = isinstance(error, TofuEvalError) or is_of_the_disk(error) or is_out_of_memory(error)
        if began or ours:
            raise
        raise StoreError(
            f"Training cannot go on from {checkpoint}: {say_error(error)}. If that checkpoint is "
            "damaged, delete it: the same command goes on from the one before."
        ) from error


def _finite(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {
        name: value if isinstance(value, int | float) and math.isfinite(value) else None
        for name, value in entry.items()
    }
