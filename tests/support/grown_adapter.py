"""An adapter whose tokenizer has more tokens than its base."""

from __future__ import annotations

from pathlib import Path


def make_grown_adapter(base: Path, folder: Path, *, embeddings: bool = True) -> Path:
    """A LoRA adapter with two tokens more, and (or not) the rows of its embedding."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<|ask|>", "<|end|>"], special_tokens=True)
    stream = torch.Generator().manual_seed(3)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        layer.weight.data[-2:] = torch.randn(2, layer.weight.shape[1], generator=stream) * 0.3
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    for name, weight in wrapped.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=stream) * 0.3
    wrapped.save_pretrained(folder, save_embedding_layers=embeddings)
    tokenizer.save_pretrained(folder)
    return folder
