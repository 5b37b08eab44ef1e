"""GGUF files, what llama.cpp and Ollama run, as checkpoints that every engine and training takes.

The weights are dequantized to float32 once and kept in a cache, under the digest of the file and
the version of transformers that read it. Whatever reads a checkpoint then reads them; what a run
records is the file's digest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from tofu_eval.core.bounded import MOST_PARTS
from tofu_eval.core.disk import is_of_the_disk, say_reason
from tofu_eval.core.errors import MissingDependencyError, ModelError, say_error
from tofu_eval.core.hub import quiet
from tofu_eval.core.types import Report, no_report

SUFFIX = ".gguf"

MAGIC = b"GGUF"

MAKING = ".making-"
"""How the name of what is being made begins."""

TOLD = 20
"""How often at most a conversion tells how far it is."""

CACHE = "TOFU_EVAL_CACHE"
"""Environment variable: where converted files are kept, instead of ~/.cache/tofu-eval."""


def is_gguf(path: Path) -> bool:
    """Whether a path is meant as a GGUF file: by its name."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        ModelError: it cannot be read, or does not begin as a GGUF file does.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ModelError(
                    f"{path} is no GGUF file: it does not begin with the letters GGUF. "
                    "Download it again, or give the directory of a checkpoint."
                )
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error


def to_checkpoint(path: Path, report: Report = no_report) -> Path:
    """The directory of the checkpoint that a GGUF file holds; made at the first call.

    Args:
        path: the file. Its tokenizer and chat template come with it.
        report: told about the conversion as (stage, done, total), in tensors.
    Returns: a directory with float32 safetensors (4 bytes a parameter, whatever the file's
        quantization) and a tokenizer, in the cache.

    Raises:
        MissingDependencyError: transformers or gguf is not installed.
        ModelError: the file is damaged, of an architecture that transformers cannot read from
            GGUF, or there is no room.
    """
    digest = file_digest(path)
    for package in ("torch", "transformers", "gguf"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError.of(f"The GGUF file {path.name}", package, "gguf")
    import transformers

    folder = cache_folder() / "gguf" / f"{digest[:16]}-transformers-{transformers.__version__}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):  # one at a time: each holds the weights twice
            for left in folder.parent.glob(f"{MAKING}*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            if folder.is_dir():  # another was quicker
                return folder
            making = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder.parent))
            try:
                _convert(path, making, report)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except Exception as error:
        if not is_of_the_disk(error):
            raise
        raise ModelError(
            f"Cannot keep the weights of {path.name} in {folder.parent}: {say_reason(error)}."
            f" Make room, or name another place: {CACHE}=DIR"
        ) from error
    return folder


def cache_folder() -> Path:
    """Where converted files are kept."""
    if own := os.environ.get(CACHE):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tofu-eval"


def packaged_file(package: str) -> Path | None:
    """The one GGUF file that an installed package holds; None without the package or the file."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in Path(folder).glob(f"*{SUFFIX}")]
    return files[0] if len(files) == 1 else None


def _convert(path: Path, folder: Path, report: Report) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, name = path.resolve().parent, path.resolve().name
    try:
        _check_counts(path)
        with quiet(), _telling(report, f"load {path.name}"):
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
            model = AutoModelForCausalLM.from_pretrained(
                source,
                gguf_file=name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
            )
            tokenizer.save_pretrained(folder)
            model.save_pretrained(folder)
    except Exception as error:  # a damaged file fails in many ways
        if is_of_the_disk(error):
            raise
        raise _refusal(path, error) from error


def _check_counts(path: Path) -> None:
    """Refuse layers and experts that could not be built, as of a config.json."""
    import gguf

    for name, field in gguf.GGUFReader(path).fields.items():
        value = field.contents() if name.endswith("_count") else 0
        if isinstance(value, int) and value > MOST_PARTS:
            raise ValueError(f"it says {name}: {value}; more than {MOST_PARTS:,} are not built")


@contextmanager
def _telling(report: Report, stage: str) -> Iterator[None]:
    """Have transformers tell a report how far it is, in place of a bar that nothing turns off."""
    from transformers import modeling_gguf_pytorch_utils as conversion

    def tell(tensors: Sequence[Any], **_: Any) -> Iterator[Any]:
        step = max(1, len(tensors) // TOLD)
        for done, tensor in enumerate(tensors):
            if done % step == 0:
                report(stage, done, len(tensors))
            yield tensor
        report(stage, len(tensors), len(tensors))

    bar, conversion.tqdm = getattr(conversion, "tqdm", None), tell
    try:
        yield
    finally:
        conversion.tqdm = bar


def _refusal(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"transformers cannot read {path}: {type(error).__name__}: {say_error(error)}. Give a "
        "GGUF file of an architecture that it knows, or the directory of the checkpoint that "
        "it was made from."
    )
