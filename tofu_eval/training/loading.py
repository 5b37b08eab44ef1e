"""From files to a model that can be trained, with everything that can be wrong in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.models import ResolvedModel
from tofu_eval.engines.loading import load_tokenizer, load_weights
from tofu_eval.tasks.yaml_document import read_text
from tofu_eval.training.settings import TrainSettings
from tofu_eval.training.trl_config import quantization


def load_model(resolved: ResolvedModel, settings: TrainSettings, args: Any) -> tuple[Any, Any]:
    """Model and tokenizer, trainable; an adapter stays one and is trained on.

    Raises:
        ModelError: something cannot be loaded, or its parts do not fit each other.
    """
    quantized = quantization(settings)
    options = {"dtype": "float32", **(args.model_init_kwargs or {}), **quantized}
    trust = args.trust_remote_code
    args.model_init_kwargs = None  # used up here
    tokenizer = load_tokenizer(resolved, settings.model, trust_remote_code=trust)
    if "local_files_only" in tokenizer.init_kwargs:
        # It would be saved, and tell only whether this machine was offline: the same training
        # would be another model to whoever hashes its files.
        tokenizer.init_kwargs["local_files_only"] = False
    model = load_weights(
        resolved, settings.model, tokenizer, trainable=True, trust_remote_code=trust, **options
    )
    _adapt(tokenizer, args)
    rows = len(model.get_input_embeddings().weight)
    if len(tokenizer) > rows:
        raise ModelError(
            f"The vocabularies of tokenizer and model differ: {resolved.tokenizer} has "
            f"{len(tokenizer)} tokens, the model '{settings.model}' {rows}. Use the tokenizer that "
            "belongs to it."
        )
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
