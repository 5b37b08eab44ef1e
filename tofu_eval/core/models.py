"""Which model is meant, where its files are, and exactly which files they are.

A reference is a local directory, a GGUF file, a Hub id, or BASE+ADAPTER of those; a Hub id may
carry @revision. What exists on this machine under the whole text wins, so a path may hold '+', '@'
and '='.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core import gguf, hub
from tofu_eval.core.bounded import MOST_PARTS, read_bounded, read_json
from tofu_eval.core.errors import MissingDependencyError, ModelError, say_error
from tofu_eval.core.names import check_name
from tofu_eval.core.types import ModelSpec, Report, no_report

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")

PARTS = re.compile(r"(?:num|n)_.*(?:layer|block|expert|head|expansion)s?|(?:en|de)coder_layers|r")
"""The settings that count layers, experts and the like."""

TOKENIZER_FILES = ("tokenizer*", "vocab.*", "merges.txt", "*.model", "*.tiktoken", "tekken.json")

OTHER_FILES = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "*.jinja",
    "*.index.json",
    "*.py",
)
"""What else shapes a response (code only runs with trust_remote_code). Not a trainer's logs."""

EMBEDDINGS = tuple(
    f"{layer}{part}.weight"
    for layer in ("embed_tokens", "wte", "embed_in", "word_embeddings", "lm_head", "embed_out")
    for part in ("", ".base_layer", ".modules_to_save", ".original_module")
)
"""How the names end of the weights that have one row a token."""

TRAINED = "training.json"
"""What `tofu-eval train` leaves beside a checkpoint: how it was made, and the prompt format."""

TRAINING_FILES = ("training_args.bin", "optimizer.bin", "scheduler.bin")
"""What a trainer leaves beside the weights, under names that look like weights."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model's files on this machine.

    `identity` is JSON-able and free of local paths and names: for each part its kind, and the id
    and commit (hub) or the SHA-256 of each file that shapes a response (local).
    """

    base: Path
    adapter: Path | None
    identity: Mapping[str, Any]

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer: the adapter's own where it has one (trained with)."""
        own = self.adapter is not None and has_tokenizer(self.adapter)
        return self.adapter if own and self.adapter is not None else self.base


def parse_model(text: str) -> ModelSpec:
    """Read `NAME=REF` or `REF`; without a name, the last part of the path or id is the name.

    Raises:
        ConfigError: the name is not letters, digits, '.', '_' and '-'.
        ModelError: a part of the reference is empty.
    """
    name, equals, ref = text.partition("=")
    named = equals and not _exists(text) and not re.search(r"[/\\@+]|^[.~]", name)
    if not named:
        ref = text
    if "://" in ref:
        raise ModelError(
            "A model is a directory or a Hub id, not an address. Name a server with --base-url."
        )
    model, adapter = _split_adapter(ref)
    model, revision = _split_revision(model)
    adapter, adapter_revision = _split_revision(adapter) if adapter is not None else (None, None)
    if not model or adapter == "" or revision == "" or adapter_revision == "":
        raise ModelError(
            f"The model '{text}' has an empty part. Write NAME=REF, where REF is a directory, "
            "a Hub id, a Hub id@revision or BASE+ADAPTER."
        )
    return ModelSpec(
        check_name("model", name) if named else _name_of(adapter or model),
        model,
        revision,
        adapter,
        adapter_revision,
    )


def resolve(spec: ModelSpec, report: Report = no_report) -> ResolvedModel:
    """Find the files of a model, from the Hub (or its cache) where they are not local.

    `report` is told about a GGUF file's conversion as (stage, done, total).

    Raises:
        ModelError: nothing is there, it is not a model, or it has no tokenizer.
        MissingDependencyError: a Hub id without the package huggingface_hub.
    """
    base = _locate(spec.model, spec.revision, report)
    if (base / "adapter_config.json").exists() and not (base / "config.json").exists():
        raise ModelError(
            f"'{spec.model}' is an adapter, not a whole model. Name its base as well: "
            f"--model {spec.name}=BASE+{spec.model}"
        )
    _check_files(spec.model, base, "config.json")
    identity = {"model": _identity(spec.model, base)}
    adapter = None
    if spec.adapter is not None:
        adapter = _locate(spec.adapter, spec.adapter_revision)
        _check_files(spec.adapter, adapter, "adapter_config.json")
        identity["adapter"] = _identity(spec.adapter, adapter)
    if not has_tokenizer(base) and not (adapter and has_tokenizer(adapter)):
        raise ModelError(
            f"The model '{spec.model}' has no tokenizer: {base} holds none of tokenizer.json, "
            "tokenizer_config.json, tokenizer.model and vocab.*. Save it there: "
            "tokenizer.save_pretrained(...)"
        )
    return ResolvedModel(base, adapter, identity)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer was saved in the folder."""
    return any(next(folder.glob(pattern), None) for pattern in TOKENIZER_FILES)


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, a null byte
        return False


def _split_adapter(ref: str) -> tuple[str, str | None]:
    """BASE+ADAPTER at the '+' that leaves most parts on this machine, else at the first."""
    if _exists(ref):
        return ref, None
    cuts = [i for i, letter in enumerate(ref) if letter == "+"]
    if not cuts:
        return ref, None

    def local(cut: int) -> int:
        return sum(_exists(_split_revision(part)[0]) for part in (ref[:cut], ref[cut + 1 :]))

    cut = max(cuts, key=local)
    return ref[:cut], ref[cut + 1 :]


def _split_revision(ref: str) -> tuple[str, str | None]:
    if _exists(ref) or "@" not in ref:
        return ref, None
    model, _, revision = ref.rpartition("@")
    return model, revision


def _name_of(ref: str) -> str:
    last = Path(ref).expanduser().resolve().name if _exists(ref) else ref.rstrip("/").split("/")[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last.removesuffix(gguf.SUFFIX)).strip("-._") or "model"


def tuned_format(spec: ModelSpec, identity: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """The prompt format in which `tofu-eval train` tuned a model: its name, and its template.

    Args:
        spec: the model.
        identity: what its engine says of it; tells a Hub's model from a server's of that name.
    Returns: None for a model (or, where there is one, an adapter) that was made otherwise.

    Raises:
        ModelError: the file that says so is damaged.
    """
    ref, revision = spec.model, spec.revision
    if spec.adapter is not None:
        ref, revision = spec.adapter, spec.adapter_revision
    part = identity.get("model" if spec.adapter is None else "adapter")
    of_hub = isinstance(part, Mapping) and part.get("kind") == "hub"
    if not (of_hub or (_exists(ref) and Path(ref).expanduser().is_dir())):
        return None
    file = _locate(ref, revision) / TRAINED
    if not file.exists():
        return None
    try:
        manifest = read_json(file)
        name, template = manifest["format"]["name"], manifest["format"]["template"]
        unfinished = manifest.get("status") == "running"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{file} is damaged, so the prompt format of '{ref}' is not known. "
            "Restore that file, or remove it and name the format: --format"
        ) from error
    if unfinished:
        raise ModelError(
            f"The training of '{ref}' is not finished. Finish it with tofu-eval train … --resume, "
            f"or name one of its checkpoints: {ref}/checkpoint-…"
        )
    if not isinstance(name, str) or not isinstance(template, str | None):
        raise ModelError(f"{file} names the format {name!r}; expected base, sft or chat.")
    return name, template


def is_quantized(resolved: ResolvedModel) -> bool:
    """Whether a base's files hold packed weights, as a checkpoint of bitsandbytes does."""
    try:
        config = json.loads(read_bounded(resolved.base / "config.json"))
    except (OSError, ValueError, RecursionError):
        return False  # whoever loads it says what is wrong
    return isinstance(config, dict) and bool(config.get("quantization_config"))


def check_weights(info: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers made up a part.

    Args:
        info: what `from_pretrained(..., output_loading_info=True)` tells.

    Raises:
        ValueError: some of its weights were missing, or had another shape.
    """
    for what in ("missing", "mismatched"):
        keys = sorted(str(key) for key in info[f"{what}_keys"])
        if keys:
            raise ValueError(
                f"its weights do not match its config.json: {len(keys)} {what}, such as {keys[0]}"
            )


def with_adapter(model: Any, adapter: Path, *, trainable: bool = False) -> Any:
    """The model in PEFT's wrapping.

    Raises:
        Exception: whatever PEFT raises; a ValueError where a weight has no place in the model.
    """
    import peft

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        # True of every adapter on tied embeddings, and once an adapter.
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        warnings.filterwarnings("ignore", message=".*tied.*")
        wrapped = peft.PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
        # Only a second loading tells which weights found no place.
        loaded = wrapped.load_adapter(adapter, "default", is_trainable=trainable)
    if lost := loaded.unexpected_keys:
        raise ValueError(f"{len(lost)} of its weights have no place in the base, such as {lost[0]}")
    return wrapped


def resized_vocabulary(adapter: Path, tokenizer: Any, rows: int) -> int:
    """How many rows the base's embedding must have for an adapter.

    Args:
        adapter: its folder.
        tokenizer: the one that it was trained with.
        rows: of the base's embedding.

    Raises:
        ModelError: its tokenizer has tokens that neither the base nor the adapter has an embedding
            for; they would be random.
    """
    saved = embedding_rows(adapter)
    if saved is not None:
        return saved
    most = max(tokenizer.get_vocab().values(), default=0) + 1
    if most <= rows or _trains_single_tokens(adapter):
        return max(most, rows)
    raise ModelError(
        f"The tokenizer of the adapter {adapter} has {most} tokens, the base has embeddings for "
        f"{rows}, and the adapter holds none: those of the other {most - rows} are lost. Save it "
        "again with them: model.save_pretrained(..., save_embedding_layers=True)"
    )


def embedding_rows(adapter: Path) -> int | None:
    """The rows of the embedding that an adapter brings along; None where it brings none."""
    file = adapter / "adapter_model.safetensors"
    if not file.exists():
        return None
    from safetensors import safe_open

    try:
        with safe_open(str(file), "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                if name.endswith(EMBEDDINGS) and "lora_" not in name:
                    return int(weights.get_slice(name).get_shape()[0])
    except Exception as error:  # the library's own errors have no common class
        raise ModelError(f"Cannot read {file}: {error}. Save the adapter again.") from error
    return None


def _trains_single_tokens(adapter: Path) -> bool:
    try:
        config = json.loads(read_bounded(adapter / "adapter_config.json"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"Cannot read the configuration of {adapter}: {error}.") from error
    return isinstance(config, dict) and bool(config.get("trainable_token_indices"))


def _locate(ref: str, revision: str | None, report: Report = no_report) -> Path:
    path = Path(ref).expanduser() if _exists(ref) else None
    if path is not None:
        if revision is not None:
            raise ModelError(
                f"'{ref}' is a local path, which has no revision '{revision}'. Drop "
                f"'@{revision}', or give another path."
            )
        if gguf.is_gguf(path):
            return gguf.to_checkpoint(path, report)
        if not path.is_dir():
            raise ModelError(
                f"The model '{ref}' is a file. Give the directory that holds it, or a file *.gguf."
            )
        return path
    if not HUB_ID.match(ref):
        raise ModelError(
            f"There is no model at '{ref}': no such directory, and it is not a Hub id "
            "(like org/name). Check the path."
        )
    return _download(ref, revision)


def _download(repo: str, revision: str | None) -> Path:
    try:
        return hub.snapshot(
            repo,
            revision,
            allow=[*TOKENIZER_FILES, *OTHER_FILES, TRAINED, "*.safetensors", "*.bin"],
            # Subfolders and consolidated.* hold the same weights in other formats.
            ignore=["*/*", "consolidated*"],
        )
    except MissingDependencyError:
        raise
    except Exception as error:  # a network fails in many ways
        raise ModelError(
            f"There is no model '{repo}'{f' at revision {revision}' if revision else ''}: no such "
            f"local directory, and the Hub says: {type(error).__name__}: "
            f"{say_error(error)}. Check the name, the network and, for a gated model, "
            "`hf auth login`."
        ) from error


def _weights(folder: Path) -> list[Path]:
    """The weight files that are used: safetensors, or else PyTorch's."""
    for pattern in ("*.safetensors", "*.bin"):
        files = sorted(folder.glob(pattern))
        files = [
            f
            for f in files
            if f.is_file() and f.name not in TRAINING_FILES and "consolidated" not in f.name
        ]
        if files:
            return files
    return []


def _check_files(ref: str, folder: Path, config: str) -> None:
    kind = "an adapter" if config.startswith("adapter") else "a model"
    if not (folder / config).exists():
        raise ModelError(
            f"'{ref}' is not {kind}: {folder} holds no {config}. Give the directory that "
            "save_pretrained wrote."
        )
    _check_counts(folder / config)
    if not _weights(folder):
        raise ModelError(
            f"'{ref}' is not {kind}: {folder} holds no weights (*.safetensors or *.bin). Was it "
            "copied or downloaded whole?"
        )


def _check_counts(config: Path) -> None:
    """Refuse a configuration whose layers could not be built, or one that is none."""
    try:
        content = json.loads(read_bounded(config))
        found = list(_counts(content)) if isinstance(content, dict) else None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ModelError(f"Cannot read {config}: {reason}. Save the model again.") from error
    if found is None:
        raise ModelError(f"{config} holds no settings of a model. Save the model again.")
    for name, count in found:
        if count > MOST_PARTS:
            raise ModelError(
                f"{config} says {name}: {str(count)[:20]}; more than {MOST_PARTS:,} are not built. "
                "Is the file as its author wrote it?"
            )


def _counts(content: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _counts(value)
        elif isinstance(value, int) and PARTS.fullmatch(name):
            yield name, value


def weights_size(folder: Path) -> int:
    """Bytes of the weight files that are used."""
    return sum(file.stat().st_size for file in _weights(folder))


def _identity(ref: str, folder: Path) -> dict[str, Any]:
    if not _exists(ref):
        return {"kind": "hub", "id": ref, "commit": folder.name}
    if gguf.is_gguf(file := Path(ref).expanduser()):
        return {"kind": "gguf", "sha256": gguf.file_digest(file)}
    patterns = (*TOKENIZER_FILES, *OTHER_FILES)
    files = {f for pattern in patterns for f in folder.glob(pattern) if f.is_file()}
    return {
        "kind": "local",
        "files": {f.name: _sha256(f) for f in sorted({*files, *_weights(folder)})},
    }


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
