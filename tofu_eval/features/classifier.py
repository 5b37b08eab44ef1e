"""A sequence-classification model of transformers: what is read of it first, and its weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofu_eval.core.errors import MissingDependencyError, ModelError
from tofu_eval.core.hub import quiet
from tofu_eval.core.templates import bound_chat_templates
from tofu_eval.features.weights import Weights, explain, find_weights


@dataclass(frozen=True)
class Classifier:
    """A classifier whose files are found and whose weights are not loaded yet.

    `noun` and `option` are what messages call its kind and the flag that names it.
    """

    name: str
    noun: str
    option: str
    weights: Weights
    config: Any
    tokenizer: Any

    @property
    def remedy(self) -> str:
        """What to do where it is of no use."""
        return _remedy(self.option)

    def load(self, device: str | None, dtype: str) -> Any:
        """The model in evaluation mode, on a GPU where there is one and none is named.

        Raises:
            ModelError: it cannot be loaded, or a part of its weights is missing.
        """
        import torch
        from transformers import AutoModelForSequenceClassification

        path: Path = self.weights.path
        try:
            with quiet():
                model, report = AutoModelForSequenceClassification.from_pretrained(
                    path, dtype=dtype, trust_remote_code=False, output_loading_info=True
                )
            model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        except Exception as error:
            raise explain(
                f"Cannot load the {self.noun} '{self.name}'", error, self.remedy
            ) from error
        # transformers fills what is missing with random numbers.
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise ModelError(
                f"'{self.name}' is not a {self.noun}: it has no weights for {missing}. "
                f"{self.remedy}"
            )
        return model


def find_classifier(name: str, noun: str, option: str, purpose: str) -> Classifier:
    """Find a classifier's files, and read its configuration and its tokenizer.

    Args:
        name: a local directory or a Hub id (`@revision`).
        noun: what messages call its kind.
        option: the flag that names it.
        purpose: what cannot be done without torch and transformers.

    Raises:
        ModelError: it cannot be found or read.
        MissingDependencyError: transformers or torch is not installed.
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError.of(purpose, package, "hf")
    weights = find_weights(name, option)
    from transformers import AutoConfig, AutoTokenizer

    bound_chat_templates()
    try:
        config = AutoConfig.from_pretrained(weights.path, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(weights.path, trust_remote_code=False)
    except Exception as error:
        raise explain(f"Cannot read the {noun} '{name}'", error, _remedy(option)) from error
    return Classifier(name, noun, option, weights, config, tokenizer)


def _remedy(option: str) -> str:
    return f"Give another: {option} PATH_OR_ID"
