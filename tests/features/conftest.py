"""Tiny encoders for the feature models, built on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TEXT = ["The cat sat on the mat, near the old river.", "Name a fruit, please!"]


@pytest.fixture(scope="session")
def bert_config() -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        num_labels=1,
    )


@pytest.fixture(scope="session")
def bert_tokenizer() -> Any:
    """Byte-level, so that any text can be read; pairs as BERT wants them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["[PAD]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def tiny_bert_reward(
    bert_config: Any, bert_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved BERT with one output."""
    from transformers import BertForSequenceClassification

    path = tmp_path_factory.mktemp("models") / "tiny-bert-reward"
    save_seeded(BertForSequenceClassification, bert_config, path)
    bert_tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_embedder(
    bert_config: Any, bert_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A saved sentence-transformers model: a tiny BERT and mean pooling, 16 wide."""
    from sentence_transformers import SentenceTransformer
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models")
    save_seeded(BertModel, bert_config, folder / "tiny-bert")
    bert_tokenizer.save_pretrained(folder / "tiny-bert")
    path = folder / "tiny-embedder"
    SentenceTransformer(str(folder / "tiny-bert"), device="cpu").save(str(path))
    return path


def save_seeded(model: Any, config: Any, path: Path) -> None:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(config).eval().save_pretrained(path)
