"""Embeddings by a causal language model: what it would call a text in one word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError, ModelError
from tofu_eval.core.types import Prompt, digest
from tofu_eval.features.causal_model import DEFAULT_MODEL, CausalModel

TEMPLATE = 'The topic of the text "{text}" in one word: "'
"""What the model reads; its state at the last token is the embedding."""

LAYERS = (0.8, 0.97)
"""The layers whose states are taken by default, as shares of the model's depth."""

WINDOW = 512
"""Most tokens of a text that are read at once; a longer one is the mean of its parts."""

CENTRE = Path(__file__).with_name("centre.txt")
"""Sentences whose mean state is subtracted: what the template alone makes of any text."""

Pooling = Literal["last", "mean"]


class CausalEmbedder:
    """The feature "embedding" from hidden states of a causal language model; unit vectors.

    A text is put into the template; the states after each of some layers, at the template's last
    token (or their mean over the text's tokens), have the mean over the sentences of `centre.txt`
    subtracted, are brought to unit length and joined. Nothing is cut: of a text longer than
    WINDOW tokens, the parts' vectors are averaged.

    Args:
        model: as `CausalModel` takes it.
        template: a text with `{text}` in it once.
        layers: `24-29`, `12` or `0.8-0.97` (shares of the depth, rounded): the first and the
            last layer that count, from 1.
        pooling: "last" (token of the template) or "mean" (over the tokens of the text).
        device: as PyTorch names it.
        dtype: of the weights.

    Raises:
        ConfigError: a template without `{text}`, layers that are none.
        ModelError: the model cannot be found.
        MissingDependencyError: transformers or torch is not installed.
    """

    name: str = "embedding"

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        template: str = TEMPLATE,
        layers: str | None = None,
        pooling: Pooling = "last",
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if template.count("{text}") != 1:
            raise ConfigError(
                f"The template {template!r} has {template.count('{text}')} places for the text, "
                "expected {text} once: --embedding-template 'The topic of \"{text}\" in one word:'"
            )
        if pooling not in ("last", "mean"):
            raise ConfigError(f"Unknown pooling {pooling!r}. Use 'last' or 'mean'.")
        self._span = LAYERS if layers is None else _parse_layers(layers)
        self._model = CausalModel(model, "--embedding-model", device=device, dtype=dtype)
        self._template, self._pooling = template, pooling
        settings = {
            "template": template,
            "layers": list(self._span),
            "pooling": pooling,
            "window": WINDOW,
            "centre": digest(_sentences()),
        }
        self.identity: Mapping[str, Any] = {**self._model.identity, "embedding": settings}
        self.signature = f"{self._model.signature}|causal-lm:{digest(settings)[:12]}"
        self.truncated = 0

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the text alone."""
        return digest(text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Unit vectors of the texts, (len(pairs), layers x width); each text is read once.

        Raises:
            ModelError: the model cannot be loaded, fails, or gives no finite numbers.
        """
        texts = sorted({text for _, text in pairs})
        row = {text: number for number, text in enumerate(texts)}
        vectors = self._embed(texts)
        return vectors[[row[text] for _, text in pairs]]

    def windows(self, text: str) -> list[str]:
        """The whole text: nothing is too long."""
        return [text]

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self._model.close()

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [self._model.windows(text, self._window) for text in texts]
        states = self._states([part for some in parts for part in some])
        rows = _join_layers(states - self._centre)
        ends = np.cumsum([0, *map(len, parts)])
        means = np.stack([rows[start:end].mean(axis=0) for start, end in pairwise(ends)])
        unit: NDArray[np.float32] = _unit(means).astype(np.float32)
        return unit

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        """(layers, width)."""
        mean: NDArray[np.float64] = self._states(_sentences()).mean(axis=0)
        return mean

    @property
    def _window(self) -> int:
        around = len(self._model.encode(self._template.replace("{text}", "")))
        return max(1, min(WINDOW, self._model.limit - around - 8))

    @cached_property
    def _layers(self) -> list[int]:
        return _layer_numbers(self._span, self._model.depth, self._model.name)

    def _states(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, layers, width)."""
        before = len(self._model.encode(self._template.partition("{text}")[0] or " "))
        after = len(self._model.encode(self._template.partition("{text}")[2]))
        rows = [
            self._model.encode(self._template.replace("{text}", text.strip())) for text in texts
        ]
        pooled = self._pool(rows, before, after)
        vectors = np.stack(pooled).astype(np.float64)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"'{self._model.name}' gave NaN or infinite numbers. "
                "Give another: --embedding-model PATH_OR_ID"
            )
        return vectors

    def _pool(self, rows: Sequence[list[int]], before: int, after: int) -> list[NDArray[Any]]:
        """(layers, width) of each row of ids, the text of which has template around it."""
        pooled: list[Any] = [None] * len(rows)
        for batch, states in self._model.hidden_states(rows, self._layers):
            for place, number in enumerate(batch):
                length = len(rows[number])
                if self._pooling == "last":  # copied: a view would keep the states of a batch
                    pooled[number] = states[place, :, length - 1].numpy().copy()
                else:
                    end = max(before + 1, length - after)
                    pooled[number] = states[place, :, before:end].mean(dim=1).numpy()
        return pooled


def _sentences() -> list[str]:
    return CENTRE.read_text("utf-8").splitlines()


def _parse_layers(text: str) -> tuple[float, float]:
    """`24-29`, `12`, `0.8-0.97` as the first and the last; whole numbers are layers."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:-\s*(\d+(?:\.\d+)?))?\s*", text)
    if match is None:
        raise ConfigError(f"Layers {text!r}: expected '24-29', '12' or '0.8-0.97'.")
    first, last = (part for part in (match[1], match[2] or match[1]))
    if ("." in first) != ("." in last) or float(first) > float(last):
        raise ConfigError(
            f"Layers {text!r}: expected two layers or two shares of the depth, the lower one first."
        )
    return (float(first), float(last)) if "." in first else (int(first), int(last))


def _layer_numbers(span: tuple[float, float], depth: int, model: str) -> list[int]:
    first, last = (part if isinstance(part, int) else max(1, round(part * depth)) for part in span)
    if not 1 <= first <= last <= depth:
        raise ConfigError(
            f"'{model}' has {depth} layers, and {span[0]} to {span[1]} were asked for. "
            f"Name some of 1-{depth}: --embedding-layers"
        )
    return list(range(first, last + 1))


def _join_layers(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors of (n, layers, width): each layer counts the same, whatever its scale."""
    unit = _unit(states)
    return _unit(unit.reshape(len(unit), -1))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(lengths == 0, 1.0, lengths)
    return unit
