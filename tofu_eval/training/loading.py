"""From files to a model that can be trained, with everything that can be wrong in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import AutoModelForCausalLM, AutoTokenizer

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import ResolvedModel, check_weights, has_tokenizer, with_adapter
from tofu_eval.tasks.yaml_document import read_text
from tofu_eval.training import trl_config as arguments
from tofu_eval.training.settings import TrainSettings


def load_model(resolved: ResolvedModel, settings: TrainSettings, args: Any) -> tuple[Any, Any]:
    """Model and tokenizer, trainable; an adapter stays one and is trained on.

    Raises:
        ModelError: something cannot be loaded, or its parts do not fit each other.
    """
    folder = resolved.base
    if resolved.adapter is not None and has_tokenizer(resolved.adapter):
        folder = resolved.adapter
    options = {"dtype": "float32", **(args.model_init_kwargs or {})}
    quantization = arguments.quantization(settings)
    if quantization is not None:
        options |= {"quantization_config": quantization, "device_map": {"": PartialState().device}}
    code = {"trust_remote_code": args.trust_remote_code}
    args.model_init_kwargs = None  # used up here
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **code)
        if "local_files_only" in tokenizer.init_kwargs:
            # It would be saved, and tell only whether this machine was offline: the same training
            # would be another model to whoever hashes its files.
            tokenizer.init_kwargs["local_files_only"] = False
        model, info = AutoModelForCausalLM.from_pretrained(
            resolved.base, **code, **options, output_loading_info=True, ignore_mismatched_sizes=True
        )
        check_weights(info)
    except Exception as error:  # these libraries fail in many ways
        hint = "Check that it is whole, and a causal language model that this transformers knows."
        if "trust_remote_code" in str(error):
            hint = "If you trust its author, add --trust-remote-code."
        raise ModelError(
            f"The model '{settings.model}' cannot be loaded: {arguments.one_line(error)}. {hint}"
        ) from error
    _adapt(tokenizer, args)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"The vocabularies of tokenizer and model differ: {folder} has {len(tokenizer)} "
            f"tokens, the model '{settings.model}' {rows}. Use the tokenizer that belongs to it."
        )
    if resolved.adapter is not None:
        try:
            model = with_adapter(model, resolved.adapter, trainable=True)
        except Exception as error:  # PEFT fails in many ways
            raise ModelError(
                f"The adapter of '{settings.model}' does not fit its base: "
                f"{arguments.one_line(error)}. Name the base that it was trained on."
            ) from error
    return model, tokenizer


def _adapt(tokenizer: Any, args: Any) -> None:
    """What TRL would change of the tokenizer, but only after we have made tokens with it.

    Raises:
        ConfigError: the tokenizer has no such token, or the template is no file.
    """
    if args.eos_token is not None:
        if args.eos_token not in tokenizer.get_vocab():
            raise ConfigError(f"The tokenizer has no token '{args.eos_token}' (eos_token).")
        tokenizer.eos_token = args.eos_token
    if args.chat_template_path is not None:
        file = Path(args.chat_template_path)
        if file.suffix not in (".jinja", ".j2") or not file.is_file():
            raise ConfigError(f"chat_template_path is '{file}'; expected a .jinja file.")
        tokenizer.chat_template = read_text(file)
