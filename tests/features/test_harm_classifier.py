from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Prompt
from tofu_eval.features.harm_classifier import HarmClassifier

FRUIT = Prompt.of_text("p", "Name a fruit.")
TEXTS = ["an apple", "", "the old river", "the mat", "Name a fruit"]
PAIRS = [(FRUIT, text) for text in TEXTS]


def relabelled(model: Path, path: Path, **changes: Any) -> Path:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    shutil.copytree(model, path)
    config = AutoConfig.from_pretrained(path)
    for name, value in changes.items():
        setattr(config, name, value)
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(3)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    return path


def probabilities(path: Path, texts: list[str], *, sigmoid: bool) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    return torch.stack([row.sigmoid() if sigmoid else row.softmax(-1) for row in rows]).numpy()


def test_several_labels_at_a_time_are_sigmoids(tiny_bert_reward: Path, tmp_path: Path) -> None:
    path = relabelled(
        tiny_bert_reward,
        tmp_path / "toxicity",
        id2label={0: "toxic", 1: "threat"},
        label2id={"toxic": 0, "threat": 1},
        problem_type="multi_label_classification",
    )
    expected = probabilities(path, TEXTS, sigmoid=True)[:, 1]
    least = float(np.sort(expected)[2])
    made = HarmClassifier(str(path), label="Threat", threshold=least, device="cpu", batch_size=2)
    np.testing.assert_array_equal(made.compute(PAIRS)[:, 0], expected >= least)
    assert made.identity["input"] == "response"  # no chat template
    # The prompt is not read, so it cannot matter.
    other = Prompt.of_text("q", "Name a river.")
    np.testing.assert_array_equal(
        made.compute([(other, text) for text in TEXTS]), made.compute(PAIRS)
    )
    pair = HarmClassifier(str(path), label="threat", reads="pair", device="cpu")
    assert len(pair._row(FRUIT, "fig")["input_ids"]) > len(made._row(FRUIT, "fig")["input_ids"])


def test_one_output_needs_no_label(tiny_bert_reward: Path) -> None:
    made = HarmClassifier(str(tiny_bert_reward), device="cpu")
    expected = probabilities(tiny_bert_reward, TEXTS, sigmoid=True)[:, 0]
    np.testing.assert_array_equal(made.compute(PAIRS)[:, 0], expected >= 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the label that means harm, and none is named. Give one of safe, unsafe: "),
        ({"label": "toxic"}, "and it has no 'toxic'. Give one of safe, unsafe: --harm-label NAME"),
        ({"label": "unsafe", "reads": "chat"}, "has no chat template. Use --harm-input response"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: dict[str, Any], message: str, tiny_bert_reward: Path, tmp_path: Path
) -> None:
    labels = {"id2label": {0: "safe", 1: "unsafe"}, "label2id": {"safe": 0, "unsafe": 1}}
    path = relabelled(tiny_bert_reward, tmp_path / "model", **labels)
    with pytest.raises(ConfigError) as caught:
        HarmClassifier(str(path), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
