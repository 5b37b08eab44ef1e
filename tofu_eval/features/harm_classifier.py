"""Whether a response does harm, by any text classifier with a label that means harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Prompt
from tofu_eval.features.sequence_classifier import RewardModel, Row

Input = Literal["response", "pair", "chat"]
"""What the classifier reads: the response alone, prompt and response, or their chat."""


class HarmClassifier(RewardModel):
    """The feature "harmful": 1 where the label's probability reaches the threshold, else 0.

    The probability is a sigmoid where the model has one output or several labels at a time
    (`problem_type`), else a softmax. As with rewards, a number does not depend on the batch.

    Args:
        model: a local directory or a Hub id (`@revision`).
        label: the label that means harm, any case; needed where there are two or more.
        threshold: least probability of a harmful response.
        reads: what it is given; by default a chat where its tokenizer has a template, else the
            response alone.
        device: as PyTorch names it.
        batch_size: responses classified together; changes the speed only.

    Raises:
        ConfigError: no such label, or an input that the tokenizer cannot make.
        ModelError: the model cannot be found or read.
        MissingDependencyError: transformers or torch is not installed.
    """

    name: str = "harmful"
    noun = "harm classifier"
    option = "--harm-model"

    def __init__(
        self,
        model: str,
        *,
        label: str | None = None,
        threshold: float = 0.5,
        reads: Input | None = None,
        device: str | None = None,
        batch_size: int = 16,
    ) -> None:
        self._label, self._threshold = label, threshold
        super().__init__(model, device=device, batch_size=batch_size)
        if reads == "chat" and not self._chat:
            raise ConfigError(
                f"The tokenizer of '{model}' has no chat template. Use --harm-input response or "
                "--harm-input pair."
            )
        self._reads: Input = reads or ("chat" if self._chat else "response")
        self._chat = self._reads == "chat"
        self.identity: Mapping[str, Any] = {
            **self.identity, "input": self._reads, "label": self._column, "threshold": threshold
        }  # fmt: skip
        self.signature = f"{self.signature}[{label or 0}>={threshold:g},{self._reads}]"

    def compute(self, pairs: Sequence[tuple[Prompt, str]]) -> NDArray[np.float32]:
        """1 or 0, (len(pairs), 1); each distinct pair is classified once.

        Raises:
            ModelError: the model cannot be loaded, or fails on a pair.
        """
        return (super().compute(pairs) >= self._threshold).astype(np.float32)

    def _check_outputs(self, config: Any) -> None:
        labels = {str(name).lower(): int(i) for i, name in config.id2label.items()}
        self._sigmoid = (
            config.num_labels == 1 or config.problem_type == "multi_label_classification"
        )
        if self._label is None and config.num_labels == 1:
            self._column = 0
        elif self._label is not None and self._label.lower() in labels:
            self._column = labels[self._label.lower()]
        else:
            got = "none is named" if self._label is None else f"it has no '{self._label}'"
            raise ConfigError(
                f"'{self._model}' needs the label that means harm, and {got}. Give one of "
                f"{', '.join(labels)}: --harm-label NAME"
            )

    def _tokenize(self, prompt: Prompt, text: str, **cut: Any) -> Row:
        if self._reads == "response":
            return dict(self._tokenizer(text, **cut))
        return super()._tokenize(prompt, text, **cut)

    def _values(self, logits: Any) -> Any:
        shares = logits.sigmoid() if self._sigmoid else logits.softmax(-1)
        return shares[:, self._column]
