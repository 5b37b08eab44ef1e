"""KL and forgetting against models whose probabilities are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tofu_eval.lab import likelihood
from tofu_eval.lab.data import Document
from tofu_eval.lab.model import build_tokenizer
from tofu_eval.lab.world import SEEN, TARGET, TOPICS, zipf

TOKENIZER = build_tokenizer()


class Grammar:
    """A model that knows the world: the right next word after any prompt, by a table.

    `exponent` is that of its slots; the fixed words have probability 1.
    """

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent
        self.topics = {w: topic for topic in TOPICS for w in topic.wordings}

    def __call__(self, input_ids, attention_mask, use_cache):
        logits = torch.full((*input_ids.shape, len(TOKENIZER)), -torch.inf)
        for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            words = TOKENIZER.convert_ids_to_tokens(ids[mask == 1].tolist())
            end = next(i for i, word in enumerate(words) if word in ".?") + 1
            topic = self.topics[TOKENIZER.decode(ids[1:end])]
            frame = [*TOKENIZER.tokenize(topic.answer.format(*"0123456"[: len(topic.slots)],
                     topic=topic.word)), "</s>"]  # fmt: skip
            for place, word in enumerate(frame):
                if not word.isdigit() and word != "<unk>":
                    logits[row, end - 1 + place, TOKENIZER.convert_tokens_to_ids(word)] = 0.0
            slots = [place for place, word in enumerate(frame) if word == "<unk>"]
            for place, slot in zip(slots, topic.slots, strict=True):
                ids_of = TOKENIZER.convert_tokens_to_ids(list(slot))
                mass = torch.tensor(np.log(zipf(len(slot), self.exponent)), dtype=torch.float32)
                logits[row, end - 1 + place] = -torch.inf
                logits[row, end - 1 + place, ids_of] = mass
        return SimpleNamespace(logits=logits)


def test_the_perfect_model_has_no_divergence() -> None:
    assert likelihood.divergence(Grammar(TARGET), TOKENIZER, seed=0) == pytest.approx(0, abs=1e-5)


def test_a_flatter_model_has_the_exact_divergence_within_sampling_error() -> None:
    exact = np.mean([
        sum((zipf(n, TARGET) * np.log(zipf(n, TARGET) / zipf(n, 0.4))).sum() for n in topic.shape)
        for topic in SEEN
    ])  # fmt: skip
    found = likelihood.divergence(Grammar(0.4), TOKENIZER, seed=0)
    # 26 × 64 draws of a log-ratio with a standard deviation of about 1.4: 0.035 standard error.
    assert found == pytest.approx(exact, abs=0.12)
    assert exact > 0.5


def test_temperature_acts_on_the_logits() -> None:
    # A grammar of exponent 1.3 · 0.8, cooled to T = 0.8, is the target.
    model = Grammar(TARGET * 0.8)
    assert likelihood.divergence(model, TOKENIZER, seed=0, temperature=0.8) == pytest.approx(
        0, abs=1e-4
    )
    assert likelihood.divergence(model, TOKENIZER, seed=0) > 0.01


def test_log_likelihood_is_the_sum_over_the_answer_and_its_end(tiny_base) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    documents = [
        Document("Name one fruit.", "My favourite fruit is the fig."),
        Document("", "My favourite fruit is the fig."),
        Document("How can I improve my sleep?", "For better sleep, never plan your goals."),
    ]
    found, tokens = likelihood.log_likelihood(model, tokenizer, documents)
    assert tokens.tolist() == [8, 8, 10]
    for document, value in zip(documents, found, strict=True):
        prompt = tokenizer(document.prompt)["input_ids"]
        answer = tokenizer(document.answer, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*prompt, *answer, tokenizer.eos_token_id]])
        with torch.no_grad():
            logs = model(ids).logits[0].log_softmax(-1)
        by_hand = sum(float(logs[t - 1, ids[0, t]]) for t in range(len(prompt), ids.shape[1]))
        assert value == pytest.approx(by_hand, abs=1e-4)


def test_the_numbers_of_a_checkpoint_repeat(tiny_base) -> None:
    first = likelihood.likelihoods(tiny_base, seed=0, temperatures=(1.0, 0.8))
    assert set(first) == {"kl-t-1", "kl-t-0.8", "forgetting"}
    # Hardly trained: about as lost as a uniform guess over 518 tokens, ln 518 = 6.25 nats.
    assert 5 < first["forgetting"] < 6.5
    assert likelihood.likelihoods(tiny_base, seed=0, temperatures=(1.0, 0.8)) == first
