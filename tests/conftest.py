"""Tiny real models, built on the spot: no network, no GPU, less than a second each."""

from __future__ import annotations

import json
import os

# Before anything imports torch or transformers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tofu_eval.core import registry

CONTEXT = 128
"""Positions of the tiny models."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

SENTENCES = [
    "Write a short story about a lighthouse keeper who collects the sound of storms.",
    "Name a fruit, a river, a colour and a small animal that lives near the water.",
    "The old clock in the hall has stopped, and nobody in the house wants to wind it.",
    "Give me some advice for a first day at work, and say why it matters.",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved two-layer Llama with a byte-level BPE tokenizer that adds a bos token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = _tokenizer()
    model = _seeded(LlamaForCausalLM, LlamaConfig(**_sizes(tokenizer)), seed=0)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_chat_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a chat template that writes the bos token itself."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path_factory.mktemp("models") / "tiny-chat"
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter for the tiny model, all of its weights non-zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("models") / "tiny-adapter"
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    stream = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=stream) * 0.3
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose heads are 32 wide, the least that vLLM computes on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    path = tmp_path_factory.mktemp("models") / "served"
    tokenizer = _tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(**{**_sizes(tokenizer), **sizes})
    _seeded(LlamaForCausalLM, config, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def served_adapters(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two LoRA adapters of different ranks on the served model, with weights that matter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    paths = []
    for seed, rank in enumerate((4, 16)):
        base = AutoModelForCausalLM.from_pretrained(served_model)
        config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        model = get_peft_model(base, config)
        stream = torch.Generator().manual_seed(seed)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = torch.randn(weight.shape, generator=stream) * 0.5
        paths.append(tmp_path_factory.mktemp("models") / f"adapter-{rank}")
        model.save_pretrained(paths[-1])
    return paths


@pytest.fixture(scope="session")
def tiny_reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved sequence classifier with one output."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    path = tmp_path_factory.mktemp("models") / "tiny-reward"
    tokenizer = _tokenizer()
    config = LlamaConfig(**_sizes(tokenizer), num_labels=1)
    _seeded(LlamaForSequenceClassification, config, seed=2).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def _sizes(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.25,  # peaked enough that temperature and top-p matter
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _seeded(model: Any, config: Any, *, seed: int) -> Any:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model(config).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The lab's: one token a word."""
    from tofu_eval.lab.model import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer Llama over the lab's words, saved."""
    from tofu_eval.lab.model import build_model

    path = tmp_path_factory.mktemp("training") / "base"
    build_model(tokenizer, width=32, layers=1, seed=0).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 prompts with completions of different lengths."""
    from tofu_eval.lab import data, world

    documents = data.sft_documents(0, world.SEEN[:12], 4)
    path = tmp_path_factory.mktemp("training") / "rows.jsonl"
    lines = [json.dumps({"prompt": d.prompt, "completion": d.answer}) for d in documents]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget the files that a test names, which other tests must not find registered."""
    before = set(registry.loaded_files())
    yield
    for path in set(registry.loaded_files()) - before:
        registry._forget(path)
        del registry._digests[path]
