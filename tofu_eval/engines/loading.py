"""From files to a model in memory, with everything that can be wrong said in one line."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

from tofu_eval.core.errors import (
    ConfigError,
    MissingDependencyError,
    ModelError,
    is_panic,
    say_error,
)
from tofu_eval.core.memory import is_out_of_memory
from tofu_eval.core.models import (
    ResolvedModel,
    check_weights,
    is_quantized,
    resized_vocabulary,
    weights_size,
    with_adapter,
)
from tofu_eval.core.templates import bound_chat_templates
from tofu_eval.core.token_ids import check_token_ids

QUANTIZATIONS = ("nf4",)
MOST_A_BYTE = 8
"""Weights that a byte may hold, in quantizations to come."""

_PROBE = "A text."

DTYPES = ("auto", "float32", "bfloat16", "float16")


def pick_device(name: str | None) -> torch.device:
    """The device of that name; by default CUDA, else MPS, else the CPU.

    Raises:
        ConfigError: there is no such device.
    """
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    present = [kind for kind, there in have.items() if there]
    try:
        device = torch.device(name or present[0])
    except RuntimeError as error:
        raise ConfigError(f"Unknown device '{name}'. This machine has {_list(present)}.") from error
    if not have.get(device.type, True):
        raise ConfigError(f"No device '{name}' here. This machine has {_list(present)}.")
    return device


def pick_dtype(name: str | None, device: torch.device) -> str:
    """The dtype to load in: by default the weights' own on an accelerator, float32 on the CPU.

    Raises:
        ConfigError: there is no such dtype.
    """
    name = name or ("float32" if device.type == "cpu" else "auto")
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype '{name}'. Use one of {_list(DTYPES)}.")
    return name


def check_quantize(name: str | None, device: torch.device) -> str | None:
    """The name of a quantization that can be had on this device; None is none.

    Raises:
        ConfigError: there is no such quantization, or not on this device.
        MissingDependencyError: bitsandbytes is not installed.
    """
    if name is None:
        return None
    if name not in QUANTIZATIONS:
        raise ConfigError(f"Unknown quantization '{name}'. Use one of {_list(QUANTIZATIONS)}.")
    if device.type != "cuda":
        raise ConfigError(
            f"--quantize {name} needs a CUDA device, here it is '{device}'. Leave it out, or give "
            "a model whose files are quantized already, where there is a GPU."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError.of(f"--quantize {name}", "bitsandbytes", "quantize")
    return name


def quantization(name: str) -> Any:
    """What transformers is told to load weights in 4 bits, as the paper did."""
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=name,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def load(
    resolved: ResolvedModel,
    name: str,
    *,
    device: torch.device,
    dtype: str,
    trust_remote_code: bool,
    quantize: str | None = None,
) -> tuple[Any, Any]:
    """A causal language model in evaluation mode, and its tokenizer.

    An adapter stays an adapter (not merged), and its tokenizer, where it has one, is used: that
    is the one it was trained with; the base's embedding gets as many rows as that asks for. `name`
    is what messages call the model; `quantize` is one of QUANTIZATIONS.

    Raises:
        ModelError: the tokenizer, the weights or the adapter cannot be loaded or do not fit.
    """
    placed: dict[str, Any] = {}
    if quantize is not None:
        placed["quantization_config"] = quantization(quantize)
    if quantize is not None or is_quantized(resolved):
        placed["device_map"] = {"": device}  # packed weights are put there as they load
    with silence_transformers():
        tokenizer = load_tokenizer(resolved, name, trust_remote_code=trust_remote_code)
        model = load_weights(
            resolved, name, tokenizer, dtype=dtype, trust_remote_code=trust_remote_code, **placed
        )
        with explain_failure(
            f"The model '{name}' cannot be put on the device '{device}'", "Use another --device."
        ):
            model = model if placed else model.to(device)
            return model.eval(), tokenizer


def load_tokenizer(resolved: ResolvedModel, name: str, *, trust_remote_code: bool) -> Any:
    """A model's tokenizer: its adapter's where that has one; `name` is what messages call it.

    Raises:
        ModelError: it cannot be loaded.
    """
    bound_chat_templates()
    check_token_ids(resolved.tokenizer)
    with explain_failure(
        f"The tokenizer of '{name}' cannot be loaded from {resolved.tokenizer}",
        "Save it there again: tokenizer.save_pretrained(...)",
    ):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            resolved.tokenizer, trust_remote_code=trust_remote_code
        )
        tokenizer.batch_decode([tokenizer(_PROBE).input_ids])  # its settings may be anything
        return tokenizer


def load_weights(
    resolved: ResolvedModel, name: str, tokenizer: Any, *, trainable: bool = False, **options: Any
) -> Any:
    """A causal language model with its adapter on it, where it has one.

    Args:
        resolved: its files.
        name: what messages call it.
        tokenizer: its own; says how many rows the embedding must have for the adapter.
        trainable: whether the adapter is to be trained on.
        options: what `from_pretrained` is given besides.

    Raises:
        ModelError: the weights or the adapter cannot be loaded or do not fit.
    """
    with explain_failure(
        f"The model '{name}' cannot be loaded from {resolved.base}",
        "Check that it is whole, and a causal language model that this transformers knows.",
    ):
        check_size(resolved.base, name, **_code(options))
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            resolved.base,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in `info`, and refused below
            **options,
        )
        check_weights(info)
    if resolved.adapter is not None:
        with explain_failure(
            f"The adapter {resolved.adapter} does not fit the base model of '{name}' "
            f"({resolved.base})",
            "Give the base that it was trained on: --model NAME=BASE+ADAPTER",
        ):
            resize_embeddings(model, resolved.adapter, tokenizer)
            model = with_adapter(model, resolved.adapter, trainable=trainable)
    return model


def check_size(base: Path, name: str, **options: Any) -> None:
    """Refuse a configuration that asks for far more weights than its files hold.

    What they lack would be made up before it is refused, whatever memory it takes.

    Raises:
        ModelError: its files cannot hold so much, in any quantization.
    """
    config = transformers.AutoConfig.from_pretrained(base, **options)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, **options)
    wanted, there = sum(weight.numel() for weight in model.parameters()), weights_size(base)
    if wanted > MOST_A_BYTE * there:
        raise ModelError(
            f"The model '{name}' cannot be loaded from {base}: its config.json asks for "
            f"{wanted:,} weights, its files have {there:,} bytes. Was it copied or downloaded "
            "whole?"
        )


def _code(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key == "trust_remote_code"}


def resize_embeddings(model: Any, adapter: Path, tokenizer: Any) -> None:
    """Give a base as many rows as an adapter was trained with; the new ones are the adapter's.

    Raises:
        ModelError: the adapter does not hold them.
    """
    rows = len(model.get_input_embeddings().weight)
    wanted = resized_vocabulary(adapter, tokenizer, rows)
    if wanted != rows:
        model.resize_token_embeddings(wanted, mean_resizing=False)


@contextmanager
def explain_failure(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises into a ModelError that begins with `what`."""
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:  # these libraries fail in many ways
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        if "trust_remote_code" in str(error):
            remedy = "If you trust its author, add --trust-remote-code."
        elif is_out_of_memory(error):
            remedy = "Use --dtype bfloat16, another --device, or a smaller model."
        raise ModelError(f"{what}: {say_error(error)}. {remedy}") from error


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Without the bars and the reports of transformers; what they say of faults is raised here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _list(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(words)
