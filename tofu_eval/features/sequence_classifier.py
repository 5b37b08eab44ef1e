"""Rewards: how good a response is, by any sequence-classification model with one output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ModelError
from tofu_eval.core.memory import free_memory
from tofu_eval.core.types import Prompt
from tofu_eval.features.base import pair_key
from tofu_eval.features.classifier import find_classifier
from tofu_eval.features.weights import explain

Row = Mapping[str, list[int]]
"""One tokenized pair: input_ids, attention_mask and, for some models, token_type_ids."""


class RewardModel:
    """The feature "reward": the raw logit, float32; higher is better, the scale is the model's.

    A tokenizer with a chat template gets the prompt's messages and the response as the
    assistant's turn; any other gets the pair (prompt text, response). A score does not depend
    on the batch: it is that of the pair by itself, up to rounding. Constructing it reads the
    config and the tokenizer; the weights are loaded at the first `compute`, in the precision
    that they are stored in.

    `truncated` counts the pairs that were longer than `identity["max_length"]` tokens and were
    cut by the tokenizer.

    Args:
        model: a local directory or a Hub id (`@revision`).
        device: as PyTorch names it; by default a GPU where there is one.
        batch_size: pairs scored together; changes the speed only.

    Raises:
        ModelError: the model cannot be found, or it has not exactly one output.
        MissingDependencyError: transformers or torch is not installed.
    """

    name: str = "reward"
    noun = "reward model"
    option = "--reward-model"

    def __init__(self, model: str, *, device: str | None = None, batch_size: int = 16) -> None:
        self._classifier = find_classifier(
            model, self.noun, self.option, f"The feature '{self.name}'"
        )
        config, weights = self._classifier.config, self._classifier.weights
        self._tokenizer = self._classifier.tokenizer
        self._model = model
        self._check_outputs(config)
        self._limit = _max_length(config, self._tokenizer)
        self._chat = self._tokenizer.chat_template is not None
        self.identity: Mapping[str, Any] = {
            **weights.identity,
            "input": "chat" if self._chat else "pair",
            "max_length": self._limit,
        }
        self.signature: str = weights.signature
        self.truncated = 0
        self._path = weights.path
        self._device = device
        self._batch_size = batch_size
        self._scorer: Any = None
        self._pad: int | None = None

    def key(self, prompt: Prompt, text: str) -> str:
        """Hex digest of the prompt's messages and the text."""
        return pair_key(prompt, text)

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """Raw logits, (len(pairs), 1); each distinct pair is scored once.

        Raises:
            ModelError: the model cannot be loaded, or fails on a pair.
        """
        if self._scorer is None:
            self._scorer = self._load()
        keys = [self.key(*pair) for pair in pairs]
        distinct = dict(zip(keys, pairs, strict=True))
        try:
            rows = {key: self._row(*pair) for key, pair in distinct.items()}
            # Similar lengths together waste no padding; the key breaks ties, so that batches
            # (and the last bits of the scores) do not depend on the order of the pairs.
            order = sorted(rows, key=lambda key: (-len(rows[key]["input_ids"]), key))
            scores: dict[str, float] = {}
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                scores.update(zip(batch, self._score([rows[k] for k in batch]), strict=True))
        except Exception as error:
            raise explain(f"The {self.noun} '{self._model}' failed", error, self._other) from error
        values = np.array([[scores[key]] for key in keys], dtype=np.float32).reshape(-1, 1)
        if not np.isfinite(values).all():
            raise ModelError(
                f"The {self.noun} '{self._model}' gave NaN or infinite numbers. {self._other}"
            )
        return values

    def close(self) -> None:
        """Give the model's memory back; the next `compute` loads it again."""
        self._scorer = None
        free_memory()

    @property
    def _other(self) -> str:
        return self._classifier.remedy

    def _check_outputs(self, config: Any) -> None:
        """Refuse a model whose outputs are not what is wanted of it."""
        if config.num_labels != 1:
            raise ModelError(
                f"'{self._model}' is not a {self.noun}: it has {config.num_labels} outputs, "
                f"expected 1. {self._other}"
            )

    def _values(self, logits: Any) -> Any:
        """The number of each row, from its logits."""
        return logits.reshape(len(logits))

    def _row(self, prompt: Prompt, text: str) -> Row:
        row = self._tokenize(prompt, text)
        if self._limit is None or len(row["input_ids"]) <= self._limit:
            return row
        self.truncated += 1
        return self._tokenize(prompt, text, truncation=True, max_length=self._limit)

    def _tokenize(self, prompt: Prompt, text: str, **cut: Any) -> Row:
        if not self._chat:
            return dict(self._tokenizer(prompt.text, text, **cut))
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        turns.append({"role": "assistant", "content": text})
        return dict(self._tokenizer.apply_chat_template(turns, return_dict=True, **cut))

    def _score(self, rows: Sequence[Row]) -> list[float]:
        import torch

        config = self._scorer.config.get_text_config()
        pad = self._pad
        if pad is None and len(rows) > 1:
            # Such a model reads its score at the last token, and refuses batches because it
            # cannot tell padding from text. An id that is in none of the rows tells it.
            used = set(chain.from_iterable(row["input_ids"] for row in rows))
            pad = next((i for i in range(config.vocab_size) if i not in used), None)
            if pad is None:
                return [score for row in rows for score in self._score([row])]
        config.pad_token_id = pad
        batch = _right_padded(rows, pad or 0)
        with torch.inference_mode():
            tensors = {name: torch.tensor(ids).to(self._scorer.device) for name, ids in batch}
            logits = self._scorer(**tensors).logits
        return [float(value) for value in self._values(logits.float())]

    def _load(self) -> Any:
        model = self._classifier.load(self._device, "auto")
        model.config.use_cache = False
        self._pad = model.config.get_text_config().pad_token_id
        return model


def _right_padded(rows: Sequence[Row], pad: int) -> Iterator[tuple[str, list[list[int]]]]:
    """The rows at the width of the longest, by the name of the model's argument."""
    width = max(len(row["input_ids"]) for row in rows)
    for name in rows[0]:
        fill = pad if name == "input_ids" else 0
        yield name, [row[name] + [fill] * (width - len(row[name])) for row in rows]


def _max_length(config: Any, tokenizer: Any) -> int | None:
    """Most tokens that the model can read; None where it has no limit."""
    limits = [
        tokenizer.model_max_length,
        getattr(config.get_text_config(), "max_position_embeddings", None),
    ]
    # A tokenizer without a limit says 1e30.
    known = [limit for limit in limits if limit is not None and 0 < limit < 10**9]
    return min(known, default=None)
