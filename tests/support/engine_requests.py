"""What the tests of several engines share: requests, rows, a model that vLLM can serve on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tofu_eval.core.types import Message, Request, Response, Sampling

PROMPTS = ["Name a fruit", "", "Write a short story about the old clock.", "☃ Give me", "a b c"]

EAGER = {"enforce_eager": True}
"""Without compiling: slower tokens, and ten seconds less loading."""


def asks(
    sampling: Sampling,
    prompts: list[str] = PROMPTS,
    *,
    chat: bool = False,
    model: str = "m",
    token_logprobs: bool = False,
) -> list[Request]:
    """`sampling.samples` requests a prompt, all with seeds of their own."""
    return [
        Request(
            f"{model}-{i}-{sample}", 100_000 + i * 10_000 + sample, model, "t", f"p{i}", sample,
            sampling, None if chat else text, (Message("user", text),) if chat else None,
            token_logprobs=token_logprobs,
        )
        for i, text in enumerate(prompts)
        for sample in range(sampling.samples)
    ]  # fmt: skip


def rows(engine: Any, requests: list[Request], done: Any = ()) -> dict[str, Response]:
    made = [row for batch in engine.generate(requests, done) for row in batch]
    assert len({row.key for row in made}) == len(made)
    return {row.key: row for row in made}


def first_token_p(model: Path, prompt: str, tokens: list[int]) -> float:
    """p-value of first tokens at temperature 1 against the model's exact distribution."""
    import torch
    import transformers

    plain = transformers.AutoModelForCausalLM.from_pretrained(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        logits = plain(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].double()
    expected = logits.softmax(-1).numpy() * len(tokens)
    counts = np.bincount(tokens, minlength=len(expected))
    common = expected >= 5
    assert common.sum() > 10
    observed = np.append(counts[common], counts[~common].sum())
    return float(
        stats.chisquare(observed, np.append(expected[common], expected[~common].sum())).pvalue
    )
