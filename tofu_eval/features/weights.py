"""Where the files of a feature model are, and exactly which files they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core import hub
from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.memory import is_out_of_memory
from tofu_eval.core.token_ids import check_token_ids
from tofu_eval.core.types import digest

LOADED = frozenset({".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"})
"""Suffixes of the files that loading a model can read."""

OTHER_FORMATS = ("onnx/*", "openvino/*", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.pth")
"""The same weights for other libraries; not downloaded."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model on the disk: `identity` names every bit of it, `signature` is the short form."""

    path: Path
    identity: Mapping[str, Any]
    signature: str


def find_weights(model: str, option: str) -> Weights:
    """A local directory or a Hub id (`@revision`), without loading the model.

    A directory is known by the SHA-256 of its files, a Hub model by its commit. Where the Hub
    cannot be reached, what is in its cache is used.

    Args:
        model: the directory or the id.
        option: the flag that sets it, named in errors.

    Raises:
        ModelError: there is no such directory, and it cannot be had from the Hub or its cache.
        MissingDependencyError: a Hub id, and huggingface-hub is not installed.
    """
    try:
        path = Path(model).expanduser()
        local = path.is_dir()
    except (OSError, RuntimeError):  # too long a name, no such home
        local = False
    if local:
        check_token_ids(path)
        return of_directory(path)
    repo, _, revision = model.partition("@")
    path = _snapshot(repo, revision or None, option)
    check_token_ids(path)
    # The cache keeps a snapshot in a folder that is called after its commit.
    identity = {"kind": "hub", "id": repo, "commit": path.name}
    return Weights(path, identity, f"{repo}@{path.name[:12]}")


def of_directory(path: Path) -> Weights:
    """A model in a directory. Its place may change, its name and its contents are its identity."""
    name = path.resolve().name
    files = hashes(path)
    identity = {"kind": "local", "id": name, "files": files}
    return Weights(path, identity, f"{name}@{digest(files)[:12]}")


def hashes(path: Path) -> dict[str, str]:
    """SHA-256 of each file under `path` that loading a model can read, by relative name.

    Raises:
        ModelError: there is no such file, or one cannot be read.
    """
    by_name: dict[str, str] = {}
    try:
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path)
            # Training leaves its checkpoints inside; they are other models.
            nested = any(part.startswith((".", "checkpoint-")) for part in name.parts)
            if file.suffix in LOADED and file.is_file() and not nested:
                with file.open("rb") as stream:
                    by_name[name.as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read the model in {path}: {error}.") from error
    if not by_name:
        raise ModelError(
            f"No model in {path}: expected config.json, a tokenizer and weights. Look: ls {path}"
        )
    return by_name


def first_line(error: Exception) -> str:
    """What a foreign error says, in one line, without a full stop."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(".: ")


def explain(what: str, error: Exception, remedy: str) -> ModelError:
    """What to raise where a model fails: `what`, in the error's words, and the remedy.

    Another model is none for a machine without memory.
    """
    if is_out_of_memory(error):
        remedy = "Run the same command again with more memory; what is finished is kept."
    return ModelError(f"{what}: {first_line(error)}. {remedy}")


def _snapshot(repo: str, revision: str | None, option: str) -> Path:
    try:
        return hub.snapshot(repo, revision, ignore=OTHER_FORMATS)
    except MissingDependencyError:
        raise
    except Exception as error:
        raise ModelError(
            f"Cannot get the model '{repo}': it is no directory here, not in the Hub's "
            f"cache, and the Hub says: {first_line(error)}. Give another: {option} PATH_OR_ID"
        ) from error
