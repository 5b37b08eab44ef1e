"""The peers of engines.py, each in a process of its own: bare vLLM, one prompt at a time."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any


def serve(pipe: Connection) -> None:
    """("load", (model, arguments)), then ("generate", (prompts, parameters)) as often as wanted."""
    import vllm

    llm: Any = None
    while True:
        try:
            order, (what, how) = pipe.recv()
        except EOFError:
            return
        start = time.perf_counter()
        if order == "load":
            llm = vllm.LLM(what, **how)
            made = 0
        else:
            asked = [{"prompt_token_ids": ids} for ids in what]
            parameters = [vllm.SamplingParams(**one) for one in how]
            outputs = llm.generate(asked, parameters, use_tqdm=False)
            made = sum(len(output.outputs[0].token_ids) for output in outputs)
        pipe.send(("took", (time.perf_counter() - start, made)))


def one_prompt_at_a_time(folder: str, texts: list[str], samples: int, tokens: int) -> int:
    """As scripts for papers do: transformers, `num_return_sequences`, no batches of prompts."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = 0
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        out = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            num_return_sequences=samples,
            max_new_tokens=tokens,
        )
        new = out[:, inputs.input_ids.shape[1] :]
        tokenizer.batch_decode(new, skip_special_tokens=True)
        made += new.numel()
    return made
