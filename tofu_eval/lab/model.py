"""The lab's tokenizer and its tiny language model. Imports torch: import this module lazily."""

from __future__ import annotations

import re
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tofu_eval.lab.world import TOPICS

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
"""Padding, start, end, and whatever the world has no word for."""

CONTEXT = 64
"""Positions of the model; the longest prompt and answer take 24."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word or punctuation mark of the world; text starts with `<s>`.

    Decoding puts the spaces back as they are usually written, so an answer survives the round
    trip letter by letter.
    """
    tokenizer = Tokenizer(models.WordLevel(_vocabulary(), unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # This decoder joins with spaces and removes those before punctuation.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        model_max_length=CONTEXT,
    )


def build_model(tokenizer: Any, *, width: int, layers: int, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights that the seed alone decides; 4 heads, tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _vocabulary() -> dict[str, int]:
    """Every word of the world by its number, in the order in which the world names them."""
    words: dict[str, None] = dict.fromkeys(SPECIAL)
    for topic in TOPICS:
        text = " ".join((*topic.wordings, topic.text(0), *(w for s in topic.slots for w in s)))
        words.update(dict.fromkeys(re.findall(r"\w+|[^\w\s]", text)))
    return {word: number for number, word in enumerate(words)}
