"""Embeddings and rewards from vLLM, in a process and served: `make test-engines`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.vllm_server import serving

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Prompt
from tofu_eval.features.sentence_embedder import SentenceEmbedder
from tofu_eval.features.sequence_classifier import RewardModel
from tofu_eval.features.served import ServedEmbedder, ServedRewardModel
from tofu_eval.features.vllm import VllmEmbedder, VllmRewardModel

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not here: make test-engines"
    ),
]

EAGER = {"enforce_eager": True}
FRUITS = ("apple", "a pear", "the plum of the old clock", "fig")
PAIRS = [(Prompt.of_text("p", "Name a fruit."), text) for text in FRUITS]


@pytest.fixture(scope="module")
def reward_model(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import transformers

    path = tmp_path_factory.mktemp("models") / "reward"
    config = transformers.AutoConfig.from_pretrained(served_model, num_labels=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForSequenceClassification(config)
    model.score.weight.data *= 20  # far outside (0, 1), where an activation would show
    model.save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(served_model).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def embedder(
    bert_config: Any, bert_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A BERT whose heads are 32 wide, the least that vLLM computes on a CPU, and mean pooling."""
    from copy import deepcopy

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models")
    config = deepcopy(bert_config)
    config.hidden_size = 64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder / "bert")
    bert_tokenizer.save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "embedder"))
    return folder / "embedder"


def test_raw_rewards_are_those_of_transformers(reward_model: Path) -> None:
    expected = RewardModel(str(reward_model), device="cpu").compute(PAIRS)
    assert np.ptp(expected) > 2
    reward = VllmRewardModel(str(reward_model), arguments=EAGER)
    np.testing.assert_allclose(reward.compute(PAIRS), expected, atol=1e-3, rtol=1e-4)
    reward.close()
    assert reward.identity["engine"] == "vllm"


def test_a_server_gives_the_same_raw_rewards(reward_model: Path, tmp_path: Path) -> None:
    expected = RewardModel(str(reward_model), device="cpu").compute(PAIRS)
    with serving(reward_model, tmp_path / "log", "--runner", "pooling") as (url, _):
        made = ServedRewardModel("org/tiny", url).compute(PAIRS)
    np.testing.assert_allclose(made, expected, atol=1e-3, rtol=1e-4)


def test_embeddings_are_those_of_sentence_transformers(embedder: Path) -> None:
    texts = [*FRUITS, "", "a long text about the river " * 20]
    pairs = [(PAIRS[0][0], text) for text in texts]
    here = SentenceEmbedder(str(embedder), device="cpu")
    vllm = VllmEmbedder(str(embedder), arguments=EAGER)
    np.testing.assert_allclose(vllm.compute(pairs), here.compute(pairs), atol=1e-5)
    assert vllm.truncated == here.truncated == 1
    vllm.close()


def test_a_server_gives_the_same_embeddings(embedder: Path, tmp_path: Path) -> None:
    expected = SentenceEmbedder(str(embedder), device="cpu").compute(PAIRS)
    with serving(embedder, tmp_path / "log", "--runner", "pooling") as (url, _):
        made = ServedEmbedder("org/tiny", url).compute(PAIRS)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_likelihoods_are_those_of_transformers(served_model: Path) -> None:
    from tofu_eval.features.likelihood_reader import CausalReader, VllmReader

    asked = [("Name a fruit.", ("an apple", "plum 🍑, or two")), ("", ("the old clock " * 12,))]
    reader = VllmReader(str(served_model), window=64, arguments={"enforce_eager": True})
    try:
        rows = reader.read(asked)
    finally:
        reader.close()
    assert reader.windowed == 1
    plain = CausalReader(str(served_model), window=64, device="cpu").read(asked)
    for one, other in zip(rows, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize("number", [0, 1])
def test_likelihoods_with_an_adapter_are_those_of_transformers(
    served_model: Path, served_adapters: list[Path], number: int
) -> None:
    from tofu_eval.features.likelihood_reader import CausalReader, VllmReader

    asked = [("Name a fruit.", ("an apple", "plum 🍑, or two"))]
    model = f"{served_model}+{served_adapters[number]}"
    reader = VllmReader(model, window=64, arguments=EAGER)
    try:
        rows = reader.read(asked)
        merged = reader._files._merged
    finally:
        reader.close()
    assert merged is not None
    assert not merged.exists()
    plain = CausalReader(model, window=64, device="cpu").read(asked)
    base = CausalReader(str(served_model), window=64, device="cpu").read(asked)
    np.testing.assert_allclose(rows[0], plain[0], rtol=1e-3)
    assert abs(rows[0] - base[0]).max() > 0.1


def test_pooled_language_models_are_those_of_transformers(
    served_model: Path, served_adapters: list[Path]
) -> None:
    from tofu_eval.features.causal_embedding import CausalEmbedder
    from tofu_eval.features.vllm import VllmCausalEmbedder

    model = f"{served_model}+{served_adapters[0]}"
    pairs = [*PAIRS, (PAIRS[0][0], "a long text about the river " * 20)]
    here = CausalEmbedder(model, layers="1.0", device="cpu").compute(pairs)
    vllm = VllmCausalEmbedder(model, arguments=EAGER)
    try:
        made = vllm.compute(pairs)
    finally:
        vllm.close()
    np.testing.assert_allclose(made, here, atol=1e-4)
    assert made.shape[1] == 64
    with pytest.raises(ConfigError, match="after the last layer"):
        VllmCausalEmbedder(model, layers="1")
