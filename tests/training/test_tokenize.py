"""What is learnt is what will be asked: the same ids as the engine sends, and an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tofu_eval.core.errors import DataError, ModelError
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Message, Prompt, Request, Sampling
from tofu_eval.engines.transformers import TransformersEngine
from tofu_eval.importers.training_rows import Example
from tofu_eval.tasks.formats import load_format, render
from tofu_eval.training.tokenize import tokenize

CONVERSATION = (
    Message("system", "Be brief."), Message("user", "Hello."), Message("assistant", "Hi."),
    Message("user", "Name a fruit."),
)  # fmt: skip
EXAMPLES = [
    Example(1, (Message("user", "Name a fruit, and say why."),), "A quince, for its smell."),
    Example(2, CONVERSATION, " a river"),
]


@pytest.mark.parametrize("format", ["base", "sft", "chat"])
def test_the_prompt_is_what_the_engine_sends(format, tiny_chat_model: Path):
    chosen = load_format(format)
    engine = TransformersEngine(parse_model(f"m={tiny_chat_model}"), device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    made = tokenize(EXAMPLES, chosen, tokenizer, max_length=None)
    assert made.columns["row"] == [1, 2]
    for example, ids, labels in zip(
        EXAMPLES, made.columns["input_ids"], made.columns["labels"], strict=True
    ):
        text, messages = render(Prompt("p", example.messages), chosen)
        request = Request("k", 0, "m", "t", "p", 0, Sampling(max_tokens=8), text, messages)
        asked = engine.encoders["m"].encode(request)
        assert ids[: len(asked)] == asked
        assert labels[: len(asked)] == [-100] * len(asked)
        assert labels[len(asked) :] == ids[len(asked) :]
        assert ids[-1] == tokenizer.eos_token_id
        learnt = tokenizer.decode(ids[len(asked) :], skip_special_tokens=True)
        assert learnt.strip() == example.completion.strip()
    engine.close()


def test_all_tokens_may_be_learnt(tokenizer):
    made = tokenize(
        EXAMPLES[:1], load_format("base"), tokenizer, max_length=None, completion_only=False
    )
    assert made.columns["labels"] == made.columns["input_ids"]


def test_long_rows_are_counted(tokenizer):
    whole = tokenize(EXAMPLES, load_format("base"), tokenizer, max_length=None)
    assert (whole.cut, whole.lost) == ([], [])
    lengths = [len(ids) for ids in whole.columns["input_ids"]]
    prompt = whole.columns["labels"][0].count(-100)
    exact = tokenize(EXAMPLES[:1], load_format("base"), tokenizer, max_length=lengths[0])
    assert (exact.cut, exact.lost) == ([], [])
    cut = tokenize(EXAMPLES[:1], load_format("base"), tokenizer, max_length=lengths[0] - 1)
    assert (cut.cut, cut.lost) == ([1], [])
    lost = tokenize(EXAMPLES, load_format("base"), tokenizer, max_length=prompt)
    assert lost.lost[0] == 1
    assert 1 not in lost.columns["row"]


def test_a_template_that_writes_the_prompt_differently_is_counted(tiny_chat_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    tokenizer.chat_template = (
        "{{ messages | length }}{{ messages[0].content }}"
        "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content }}{% endif %}"
    )
    made = tokenize(EXAMPLES[:1], load_format("chat"), tokenizer, max_length=None)
    assert made.apart == 1
    text = tokenizer.decode(made.columns["input_ids"][0], skip_special_tokens=True)
    assert text == "1Name a fruit, and say why.A quince, for its smell."


def test_what_a_tokenizer_must_have(tiny_model: Path, tiny_chat_model: Path):
    plain = AutoTokenizer.from_pretrained(tiny_model)
    with pytest.raises(ModelError, match="has no chat template, which the format 'chat' needs"):
        tokenize(EXAMPLES, load_format("chat"), plain, max_length=None)
    chat = AutoTokenizer.from_pretrained(tiny_chat_model)
    chat.chat_template = "{{ raise_exception('no system turn') }}"
    with pytest.raises(DataError, match="refuses row 1 of the data: no system turn"):
        tokenize(EXAMPLES, load_format("chat"), chat, max_length=None)
    plain.eos_token = None
    with pytest.raises(ModelError, match="has no end-of-sequence token"):
        tokenize(EXAMPLES, load_format("base"), plain, max_length=None)
