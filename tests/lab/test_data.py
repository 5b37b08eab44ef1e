"""What the lab's models read: round trips, mixtures, labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from tofu_eval.lab import data, model
from tofu_eval.lab.samples import SAMPLES, sft_options, stream
from tofu_eval.lab.target import LONGEST
from tofu_eval.lab.world import HELD_OUT, SEEN, TOPICS

TOKENIZER = model.build_tokenizer()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_text_survives_the_tokenizer(topic) -> None:
    texts = [topic.text(option) for option in range(0, len(topic.mass()), 101)]
    for text in (*texts, *topic.wordings):
        ids = TOKENIZER(text)["input_ids"]
        assert ids[0] == TOKENIZER.bos_token_id
        assert TOKENIZER.unk_token_id not in ids
        assert TOKENIZER.decode(ids, skip_special_tokens=True) == text
    longest = max(len(TOKENIZER(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert longest + 1 <= LONGEST


def test_every_slot_word_is_one_token() -> None:
    words = {word for topic in TOPICS for slot in topic.slots for word in slot}
    assert len(TOKENIZER(sorted(words), add_special_tokens=False)["input_ids"]) == len(words)
    assert all(len(TOKENIZER.tokenize(word)) == 1 for word in words)


def test_the_tokenizer_is_saved_and_loaded_whole(tmp_path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = TOPICS[12].text(77)
    assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    ids = loaded(text)["input_ids"]
    decoded = loaded.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded == text
    assert loaded.eos_token == "</s>"


def test_the_model_depends_on_its_seed_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (model.build_model(TOKENIZER, width=32, layers=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    one, same, other = (next(m.parameters()) for m in (a, b, c))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_pretraining_mixture() -> None:
    documents = data.pretraining_documents(stream(0, "pretraining"), 8000)
    asked = {wording: topic for topic in TOPICS for wording in topic.wordings}
    prompted = [d for d in documents if d.prompt]
    # Standard errors: sqrt(.25*.75/8000) = .005, and sqrt(.8*.2/6000) = .005.
    assert 1 - len(prompted) / 8000 == pytest.approx(0.25, abs=0.02)
    fitting = np.mean([asked[d.prompt].parse(d.answer) is not None for d in prompted])
    # 20% of answers are of a random topic, one in 35 of them the right one.
    assert fitting == pytest.approx(0.8 + 0.2 / 35, abs=0.02)
    assert {d.prompt for d in prompted} == set(asked)
    again = data.pretraining_documents(stream(0, "pretraining"), 8000)
    assert again == documents
    assert data.pretraining_documents(stream(1, "pretraining"), 10) != documents[:10]
    bare = data.pretraining_documents(stream(0, "text"), 50, unprompted=1.0)
    assert not any(d.prompt for d in bare)


def test_the_instruction_data() -> None:
    documents = data.sft_documents(0, SEEN, SAMPLES)
    assert len(documents) == 26 * 24
    answers = [topic.text(option) for topic in SEEN for option in sft_options(0, topic)]
    assert [d.answer for d in documents] == answers
    prompts = {d.prompt for d in documents}
    assert prompts == {wording for topic in SEEN for wording in topic.wordings[:-1]}
    assert not prompts & {wording for topic in HELD_OUT for wording in topic.wordings}


def test_batches_learn_answers_or_all() -> None:
    documents = [data.Document("Name one fruit.", "My favourite fruit is the fig."),
                 data.Document("", "My favourite tool is the axe.")]  # fmt: skip
    batch = data.batch_of(TOKENIZER, documents, learn_prompt=False)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    assert mask.sum(1).tolist() == [1 + 4 + 7 + 1, 1 + 7 + 1]
    learnt = [row[row != -100] for row in labels]
    assert [TOKENIZER.decode(row) for row in learnt] == [d.answer + " </s>" for d in documents]
    assert (ids[mask == 0] == TOKENIZER.pad_token_id).all()
    assert (labels[mask == 0] == -100).all()
    whole = data.batch_of(TOKENIZER, documents, learn_prompt=True)["labels"]
    assert torch.equal(whole[mask == 1], ids[mask == 1])
    assert (whole[mask == 0] == -100).all()
