"""Reward and harm models of the architectures in use: tiny, random, padded either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofu_eval.core.types import Message, Prompt
from tofu_eval.features.harm_classifier import HarmClassifier
from tofu_eval.features.sequence_classifier import RewardModel

CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n"
    "{% endfor %}"
)
FRUIT = Prompt.of_text("p", "Name a fruit.")
RIVER = Prompt("q", (Message("user", "Hello."), Message("assistant", "Hi."), *FRUIT.messages))
PAIRS = [
    (FRUIT, "an apple"),
    (RIVER, "the Rhine, which is long and wide, and a river that " * 3),
    (FRUIT, ""),
    (RIVER, "an apple"),
    (FRUIT, "plum 🍑"),
    (FRUIT, "a"),
]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}
# What sets each family apart: Gemma 2 caps its logits and slides a window, Qwen 3 norms its heads.
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Gemma2": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "Qwen2": {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1},
    "Qwen3": {"head_dim": 8},
    "Mistral": {"sliding_window": 64},
    "DebertaV2": {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
        "position_biased_input": False,
    },
}


def saved(family: str, side: str, tokenizer: Any, path: Path, *, labels: int = 1) -> Path:
    import torch
    import transformers

    decoder = family != "DebertaV2"
    tokenizer.padding_side = side
    tokenizer.chat_template = CHAT if decoder else None
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(t) for name, t in NAMES.items()}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), num_labels=labels, **SIZES, **FAMILIES[family], **ids
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


NAMES = {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}


@pytest.fixture
def words(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def logits(path: Path, prompt: Prompt, text: str, *, alone: bool = False) -> Any:
    """As transformers gives them for one input, without padding and without our code."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    if alone:
        inputs = tokenizer(text, return_tensors="pt")
    elif tokenizer.chat_template:
        turns = "".join(f"<|{m.role}|>{m.content}\n" for m in prompt.messages)
        whole = f"<s>{turns}<|assistant|>{text}\n"
        inputs = tokenizer(whole, add_special_tokens=False, return_tensors="pt")
    else:
        asked = "\n\n".join(m.content for m in prompt.messages)
        inputs = tokenizer(asked, text, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_reward_is_that_of_the_pair_by_itself(
    family: str, side: str, words: Any, tmp_path: Path
) -> None:
    path = saved(family, side, words, tmp_path / "model")
    expected = [float(logits(path, *pair)[0]) for pair in PAIRS]
    assert len({round(value, 3) for value in expected}) == len(PAIRS)
    for size in (1, 2, 6):
        made = RewardModel(str(path), device="cpu", batch_size=size)
        np.testing.assert_allclose(made.compute(PAIRS)[:, 0], expected, atol=5e-5)
    assert made.identity["input"] == ("pair" if family == "DebertaV2" else "chat")


@pytest.mark.parametrize("reads", ["response", "chat"])
def test_a_classifier_is_asked_about_its_harmful_label(
    reads: Any, words: Any, tmp_path: Path
) -> None:
    path = saved("Llama", "left", words, tmp_path / "model", labels=3)
    options = {"label": "label_2", "reads": reads, "device": "cpu"}
    alone = reads == "response"
    shares = [float(logits(path, *pair, alone=alone).softmax(-1)[2]) for pair in PAIRS]
    middle = float(np.median(shares))
    made = HarmClassifier(str(path), threshold=middle, batch_size=4, **options)
    expected = [[float(share >= middle)] for share in shares]
    assert 0 < sum(row[0] for row in expected) < len(PAIRS)
    assert made.compute(PAIRS).tolist() == expected
    assert made.name == "harmful"
    assert made.identity["label"] == 2
    assert made.signature.endswith(f"[label_2>={middle:g},{reads}]")
