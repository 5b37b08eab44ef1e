"""Feature models in processes of their own."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.errors import ModelError
from tofu_eval.core.types import Prompt
from tofu_eval.features.isolated import Isolated, IsolatedClassifier, open_classifier
from tofu_eval.features.pairs import PairClassifier
from tofu_eval.features.sentence_embedder import SentenceEmbedder
from tofu_eval.features.sequence_classifier import RewardModel

PROMPT = Prompt.of_text("p", "Name a fruit.")
PAIRS = [(PROMPT, text) for text in ("apple", "", "a long text " * 40, "apple")]


@pytest.mark.slow
@pytest.mark.parametrize("make", [RewardModel, SentenceEmbedder])
def test_the_rows_are_those_of_the_model_itself(
    make: Any, tiny_bert_reward: Path, tiny_embedder: Path
) -> None:
    path = str(tiny_bert_reward if make is RewardModel else tiny_embedder)
    here, apart = make(path, device="cpu"), Isolated(make, path, device="cpu")
    expected = here.compute(PAIRS)
    np.testing.assert_array_equal(apart.compute(PAIRS), expected)
    assert apart.truncated == here.truncated == 1
    assert (apart.name, apart.identity, apart.signature) == (
        here.name, here.identity, here.signature,
    )  # fmt: skip
    assert apart.key(*PAIRS[0]) == here.key(*PAIRS[0])
    pid = apart._remote.pid
    assert pid is not None
    apart.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    apart.compute(PAIRS)  # in a new process, which counts on
    assert apart.truncated == 2
    apart.close()


def test_a_model_that_cannot_be_loaded_says_so(tmp_path: Path, bert_config: Any) -> None:
    with pytest.raises(ModelError, match="No model in"):
        Isolated(RewardModel, str(tmp_path), device="cpu")


@pytest.mark.slow
def test_a_broken_model_is_the_error_of_the_model_itself(
    tiny_bert_reward: Path, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    shutil.copytree(tiny_bert_reward, path)
    (path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError) as here:
        RewardModel(str(path), device="cpu").compute(PAIRS)
    with pytest.raises(ModelError) as there:
        Isolated(RewardModel, str(path), device="cpu").compute(PAIRS)
    assert str(there.value) == str(here.value)


@pytest.mark.slow
def test_classifiers_of_pairs(bert_config: Any, bert_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import BertForSequenceClassification

    config = deepcopy(bert_config)
    config.num_labels = 2
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    bert_tokenizer.save_pretrained(tmp_path)
    made = [
        open_classifier(str(tmp_path), "--nli-model", isolate=isolate, side=8, device="cpu")
        for isolate in (False, True)
    ]
    assert [type(one) for one in made] == [PairClassifier, IsolatedClassifier]
    pairs = [("apple", "pear"), ("a long text about fruit and rivers", "b")]
    np.testing.assert_array_equal(*(one.probabilities(pairs) for one in made))
    assert [one.truncated for one in made] == [1, 1]
    for one in made:
        one.close()
