"""Embeddings by a causal language model against a plain pass through transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tofu_eval.core.errors import ConfigError
from tofu_eval.core.types import Prompt
from tofu_eval.features.causal_embedding import CENTRE, TEMPLATE, CausalEmbedder
from tofu_eval.features.joined_embedding import JoinedEmbedder

PROMPT = Prompt.of_text("p", "Name a fruit.")
TEXTS = ["an apple", "", "plum 🍑", "an apple", "the old clock in the hall"]
PAIRS = [(PROMPT, text) for text in TEXTS]


def by_hand(model: Path, texts: list[str], layer: int) -> np.ndarray:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def state(text: str) -> np.ndarray:
        ids = tokenizer(TEMPLATE.replace("{text}", text), return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            hidden = network(input_ids=ids, output_hidden_states=True).hidden_states
        row: np.ndarray = hidden[layer][0, -1].numpy()
        return row

    centre = np.mean([state(line) for line in CENTRE.read_text("utf-8").splitlines()], axis=0)
    rows = np.array([state(text) for text in texts]) - centre
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_last_state_without_the_mean_of_the_sentences(tiny_model: Path) -> None:
    embedder = CausalEmbedder(str(tiny_model), layers="2", device="cpu")
    rows = embedder.compute(PAIRS)
    np.testing.assert_allclose(rows, by_hand(tiny_model, TEXTS, 2), atol=2e-5)
    np.testing.assert_array_equal(rows[0], rows[3])
    np.testing.assert_allclose(embedder.compute(PAIRS[::-1])[::-1], rows, atol=2e-5)


def test_layers_are_joined_and_each_counts_the_same(tiny_model: Path) -> None:
    both = CausalEmbedder(str(tiny_model), layers="1-2", device="cpu").compute(PAIRS)
    hands = [by_hand(tiny_model, TEXTS, layer) for layer in (1, 2)]
    np.testing.assert_allclose(both @ both.T, sum(h @ h.T for h in hands) / 2, atol=5e-5)


def test_settings_are_part_of_what_it_is(tiny_model: Path) -> None:
    plain = CausalEmbedder(str(tiny_model))
    others = [
        CausalEmbedder(str(tiny_model), template="{text} means"),
        CausalEmbedder(str(tiny_model), layers="2"),
        CausalEmbedder(str(tiny_model), pooling="mean"),
    ]
    assert len({model.signature for model in (plain, *others)}) == 4
    assert not np.allclose(others[2].compute(PAIRS), others[1].compute(PAIRS))


def test_a_long_text_is_read_to_its_end(tiny_model: Path) -> None:
    embedder = CausalEmbedder(str(tiny_model), layers="2")
    text = "a river and a tree " * 60
    one, other = embedder.compute([(PROMPT, text), (PROMPT, text + "zebras quietly vote")])
    assert embedder.truncated == 0
    assert np.linalg.norm(one - other) > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "no place"}, "has 0 places for the text"),
        ({"layers": "2-1"}, "the lower one first"),
        ({"layers": "last"}, "expected '24-29', '12' or '0.8-0.97'"),
        ({"layers": "3"}, "has 2 layers, and 3 to 3 were asked for"),
    ],
)
def test_what_cannot_be(tiny_model: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CausalEmbedder(str(tiny_model), **options).compute(PAIRS)  # type: ignore[arg-type]


def test_joined_the_cosine_is_the_mean_of_the_cosines(tiny_model: Path) -> None:
    parts = [CausalEmbedder(str(tiny_model), layers=layer) for layer in ("1", "2")]
    joined = JoinedEmbedder(parts).compute(PAIRS)
    each = [part.compute(PAIRS) for part in parts]
    np.testing.assert_allclose(joined @ joined.T, sum(e @ e.T for e in each) / 2, atol=1e-5)
