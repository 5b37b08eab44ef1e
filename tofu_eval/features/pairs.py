"""Pairs of texts through a sequence-classification model: class probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ModelError
from tofu_eval.core.memory import free_memory
from tofu_eval.features.classifier import find_classifier
from tofu_eval.features.weights import explain

Row = Mapping[str, list[int]]


class PairClassifier:
    """Softmax over the labels of a pair of texts; a pair's numbers do not depend on its batch.

    Constructing it reads the config and the tokenizer; the weights are loaded at the first call.
    `truncated` counts the pairs of which something was cut.

    Args:
        model: a local directory or a Hub id (`@revision`).
        option: the flag that names the model, for errors.
        side: most tokens of each text, the pair being [CLS] a [SEP] b [SEP]; None leaves the
            pair and its length to the tokenizer.
        device: as PyTorch names it; by default a GPU where there is one.

    Raises:
        ModelError: the model cannot be found, or is no classifier of two labels or more.
        MissingDependencyError: transformers or torch is not installed.
    """

    def __init__(
        self,
        model: str,
        option: str,
        *,
        side: int | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self._classifier = find_classifier(
            model, "classifier of pairs", option, f"The model of {option}"
        )
        config, weights = self._classifier.config, self._classifier.weights
        self._tokenizer, self._other = self._classifier.tokenizer, self._classifier.remedy
        if config.num_labels < 2:
            raise ModelError(
                f"'{model}' is not a classifier of pairs: it has {config.num_labels} output, "
                f"expected at least 2. {self._other}"
            )
        if side is not None and None in (
            self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        ):  # fmt: skip
            raise ModelError(f"'{model}' has no [CLS] and [SEP] to put a pair in. {self._other}")
        limits = (self._tokenizer.model_max_length, config.max_position_embeddings)
        self._limit = min((n for n in limits if n and 0 < n < 10**9), default=512)
        self.labels = [str(config.id2label[i]).upper() for i in range(config.num_labels)]
        self.identity: Mapping[str, Any] = {
            **weights.identity, "side": side, "max_length": self._limit
        }  # fmt: skip
        self.signature = weights.signature
        self.truncated = 0
        self._name, self._side = model, side
        self._device, self._batch_size = device, batch_size
        self._model: Any = None

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(len(pairs), labels); each row sums to 1.

        Raises:
            ModelError: the model cannot be loaded, or fails on a pair.
        """
        if self._model is None:
            self._model = self._classifier.load(self._device, "float32")
        try:
            rows = [self._row(*pair) for pair in pairs]
            order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]["input_ids"]), pairs[i]))
            probabilities = np.empty((len(rows), len(self.labels)), dtype=np.float32)
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                probabilities[batch] = self._score([rows[i] for i in batch])
        except Exception as error:
            raise explain(f"'{self._name}' failed", error, self._other) from error
        if not np.isfinite(probabilities).all():
            raise ModelError(f"'{self._name}' gave NaN or infinite numbers. {self._other}")
        return probabilities

    def close(self) -> None:
        """Give the model's memory back; the next call loads it again."""
        self._model = None
        free_memory()

    def _row(self, one: str, other: str) -> Row:
        if self._side is None:
            whole = self._tokenizer(one, other, verbose=False)
            if len(whole["input_ids"]) <= self._limit:
                return dict(whole)
            self.truncated += 1
            return dict(self._tokenizer(one, other, truncation=True, max_length=self._limit))
        ids = [
            self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            for text in (one, other)
        ]
        side = min(self._side, (self._limit - 3) // 2)
        self.truncated += any(len(part) > side for part in ids)
        end = [self._tokenizer.sep_token_id]
        first = [self._tokenizer.cls_token_id, *ids[0][:side], *end]
        second = [*ids[1][:side], *end]
        row = {"input_ids": first + second, "attention_mask": [1] * len(first + second)}
        if "token_type_ids" in self._tokenizer.model_input_names:
            row["token_type_ids"] = [0] * len(first) + [1] * len(second)
        return row

    def _score(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        import torch

        width = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": self._model.config.pad_token_id or 0}
        batch = {
            name: torch.tensor(
                [row[name] + [fill.get(name, 0)] * (width - len(row[name])) for row in rows]
            ).to(self._model.device)
            for name in rows[0]
        }
        with torch.inference_mode():
            logits = self._model(**batch).logits.float()
        scored: NDArray[np.float32] = logits.softmax(-1).cpu().numpy()
        return scored
