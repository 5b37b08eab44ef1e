"""From settings to the objects of TRL, PEFT and bitsandbytes, with their complaints in one line."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import json
import math
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from trl import SFTConfig

from tofu_eval.core.disk import is_of_the_disk, say_reason
from tofu_eval.core.errors import (
    ConfigError,
    MissingDependencyError,
    StoreError,
    TrainingError,
    say_error,
)
from tofu_eval.training.settings import OURS, TrainSettings

INSTEAD = {
    "output_dir": "output",
    "loss_type": "loss",
    "resume_from_checkpoint": "--resume",
    "save_only_model": "checkpoints from which a training can go on",
    "dataset_text_field": "rows with prompt and completion",
    "streaming": (
        "rows, which are read as a whole (for a stream: FusedSFTTrainer in Python, with an "
        "IterableDataset and max_steps)"
    ),
    "hub_token": "the environment variable HF_TOKEN",
    "use_liger_kernel": "the fused loss, which is always on",
}
"""Fields of SFTConfig that mean something else here, and what to use."""

DEFAULTS = {"report_to": "none", "disable_tqdm": True}
"""Where tofu-eval's defaults are not TRL's: nothing is sent anywhere unless it is asked for."""

QUIET = frozenset(
    {
        "trust_remote_code",
        *("report_to", "disable_tqdm", "run_name", "project", "logging_dir", "push_to_hub"),
        *("log_level", "log_level_replica", "log_on_each_node", "logging_nan_inf_filter"),
        *("logging_strategy", "logging_steps", "logging_first_step", "skip_memory_metrics"),
        *(
            "save_strategy",
            "save_steps",
            "save_total_limit",
            "save_on_each_node",
        ),
        *("dataset_num_proc", "dataloader_num_workers", "dataloader_pin_memory"),
        *("hub_model_id", "hub_private_repo", "hub_strategy", "hub_always_push"),
        *("trackio_space_id", "trackio_bucket_id", "ddp_timeout", "debug"),
    }
)
"""Fields that do not change what is learnt: a resumed training may have others."""


def sft_config(settings: TrainSettings) -> SFTConfig:
    """TRL's SFTConfig of the settings' fields.

    Raises:
        ConfigError: an unknown field, a value of another type, or one that TRL refuses.
    """
    fields = {name: _check_value(name, value) for name, value in settings.sft.items()}
    _check_counts(fields)
    if settings.early_stopping is not None:  # the best checkpoint is what is kept
        if not settings.eval_data or "eval_strategy" not in fields:
            raise ConfigError(
                "early_stopping needs held-out rows to look at. Add eval_data: FILE and "
                "eval_strategy: steps (or epoch)."
            )
        fields.setdefault("load_best_model_at_end", True)
        named = "" if isinstance(settings.eval_data, str) else f"{next(iter(settings.eval_data))}_"
        fields.setdefault("metric_for_best_model", f"eval_{named}loss")
        fields.setdefault("greater_is_better", False)
        fields.setdefault("save_strategy", fields["eval_strategy"])
        if "eval_steps" in fields:
            fields.setdefault("save_steps", fields["eval_steps"])
    if not torch.cuda.is_available():  # TRL's defaults are for accelerators
        fields.setdefault("dataloader_pin_memory", False)
        if not fields.get("fp16"):
            fields.setdefault("bf16", False)
    try:
        return SFTConfig(output_dir=str(settings.output), **{**DEFAULTS, **fields})
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise ConfigError(f"TRL refuses these settings: {say_error(error)}") from error


def _check_counts(fields: Mapping[str, Any]) -> None:
    """What torch and transformers would fail on later, or not at all."""
    if fields.get("activation_offloading") and not torch.accelerator.is_available():
        raise ConfigError(
            "activation_offloading needs an accelerator to offload from, and there is none here. "
            "Leave it out."
        )
    rate = fields.get("learning_rate", 1.0)
    if not (math.isfinite(rate) and rate >= 0):
        raise ConfigError(f"learning_rate is {rate}; expected a finite number >= 0.")
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        if fields.get(name, 1) < 1:
            raise ConfigError(f"{name} is {fields[name]}; expected a whole number >= 1.")
    epochs = fields.get("num_train_epochs", 1)
    if fields.get("max_steps", -1) <= 0 and not epochs > 0:
        raise ConfigError(f"num_train_epochs is {epochs}; expected a number > 0.")


def lora_config(settings: TrainSettings) -> Any:
    """PEFT's LoraConfig, or None: alpha is r and all linear layers but the head, unless given.

    Raises:
        ConfigError: PEFT refuses a field.
    """
    if settings.lora is None:
        return None
    import peft

    fields = {"task_type": "CAUSAL_LM", "target_modules": "all-linear", **settings.lora}
    fields.setdefault("lora_alpha", fields.get("r", 8))
    names = [f.name for f in dataclasses.fields(peft.LoraConfig)]
    for name in settings.lora:
        if name not in names:
            raise ConfigError(f"LoRA has no setting '{name}'.{_did_you_mean(name, names)}")
    _check_initialisation(fields.get("init_lora_weights"))
    r = fields.get("r", 8)
    if isinstance(r, bool) or not isinstance(r, int) or r < 1:
        raise ConfigError(f"lora r is {r!r}; expected a whole number of at least 1.")
    try:
        return peft.LoraConfig(**fields)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"PEFT refuses these LoRA settings: {say_error(error)}") from error


def _check_initialisation(init: Any) -> None:
    """Refuse what rewrites the base.

    Raises:
        ConfigError: the adapter would be wrong on the base that the user has.
    """
    rewriting = ("pissa", "olora", "corda", "loftq", "lora_ga")
    if isinstance(init, str) and init.lower().startswith(rewriting):
        raise ConfigError(
            f"init_lora_weights '{init}' rewrites the base's weights, so that the adapter would be "
            "wrong on the base as it is published. Use true, gaussian, orthogonal or eva."
        )


def quantization(settings: TrainSettings) -> dict[str, Any]:
    """What `from_pretrained` is given to load weights in 4 bits; nothing where it is not asked for.

    Raises:
        ConfigError: a quantized model without an adapter, which alone could be trained.
    """
    if settings.quantize == "none":
        return {}
    if settings.lora is None and "+" not in settings.model:
        raise ConfigError(
            "quantize nf4 keeps the weights fixed, so there is nothing to train. Add --lora-r 16."
        )
    from accelerate import PartialState

    from tofu_eval.engines import loading

    config = loading.quantization(settings.quantize)
    return {"quantization_config": config, "device_map": {"": PartialState().device}}


def check_hardware(settings: TrainSettings) -> None:
    """Name everything that was asked for and needs a CUDA GPU or bitsandbytes.

    Raises:
        ConfigError: there is no GPU.
        MissingDependencyError: bitsandbytes is not installed.
    """
    optim = str(settings.sft.get("optim", ""))
    wanted, instead = [], []
    if settings.quantize != "none":
        wanted.append(f"quantize {settings.quantize}")
        instead.append("--quantize none")
    if "8bit" in optim or "paged" in optim:
        wanted.append(f"optim {optim}")
        instead.append("'optim: adamw_torch' in a further --config file")
    if not wanted:
        return
    if not torch.cuda.is_available():
        raise ConfigError(
            f"{' and '.join(wanted)} need a CUDA GPU (bitsandbytes), and there is none here. "
            f"Train on one, or use {' and '.join(instead)}."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError.of(" and ".join(wanted), "bitsandbytes", "quantize")


def learnt_with(settings: TrainSettings) -> dict[str, Any]:
    """The given SFTConfig fields that change what is learnt.

    Raises:
        ConfigError: one is nothing that JSON can hold, such as a date.
    """
    fields = {name: value for name, value in sorted(settings.sft.items()) if name not in QUIET}
    for name, value in fields.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} is {value!r}, which cannot be recorded. {error}.") from error
    return fields


def _check_value(name: str, value: Any) -> Any:
    """A value of the field's type; YAML reads 2e-4 as text."""
    hints = _hints()
    if name in INSTEAD:
        raise ConfigError(f"The setting '{name}' is not used here. Use {INSTEAD[name]}.")
    if name not in hints:
        raise ConfigError(
            f"Unknown setting '{name}'.{_did_you_mean(name, [*OURS, *hints])} Known: the fields of "
            "TRL's SFTConfig and those of: tofu-eval train --help"
        )
    try:
        return TypeAdapter(hints[name]).validate_python(value)
    except ValidationError as error:
        wanted = str(getattr(hints[name], "__name__", hints[name]))
        raise ConfigError(f"{name} should be of type {wanted}, got {value!r}.") from error


def _hints() -> Mapping[str, Any]:
    hints = typing.get_type_hints(SFTConfig)
    return {f.name: hints[f.name] for f in dataclasses.fields(SFTConfig) if f.init}


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


@contextmanager
def explain_failures() -> Iterator[None]:
    """Memory and disk in one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "The device has no memory left. Use a smaller per_device_train_batch_size with more "
            "gradient_accumulation_steps, a smaller --max-length, or --lora-r. Go on: --resume"
        ) from error
    except Exception as error:
        if isinstance(error, OSError | SafetensorError) or is_of_the_disk(error):
            raise StoreError(
                f"Training stopped: {say_reason(error)}. Checkpoints so far are kept: make room, "
                "then run the same command with --resume."
            ) from error
        if isinstance(error, ValueError | TypeError | ImportError | AttributeError):
            raise ConfigError(f"Training cannot go on: {say_error(error)}") from error
        raise
