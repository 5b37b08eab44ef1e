"""The peers of engines.py: bare vLLM, beside ours in one process; one prompt at a time."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

from tofu_eval.engines.vllm_worker import Vllm, _import_early


def serve(pipe: Connection) -> None:
    """The harness's own worker, which also answers ("bare", (prompts, parameters))."""
    engine: Any = None
    _import_early()
    while True:
        try:
            order, arguments = pipe.recv()
        except EOFError:
            return
        if order == "load":
            model, options, adapters = arguments
            # A bare LLM has a tokenizer, and makes texts with it.
            engine = Vllm(model, {**options, "skip_tokenizer_init": False}, adapters)
            pipe.send(("facts", engine.facts()))
        elif order == "generate":
            for rows in engine.generate(*arguments):
                pipe.send(("rows", rows))
            pipe.send(("end", None))
        else:
            pipe.send(("took", _bare(engine._llm, *arguments)))


def _bare(llm: Any, prompts: Any, decoders: Any) -> tuple[float, int]:
    """Seconds of `LLM.generate`, and how many tokens it made."""
    import vllm

    start = time.perf_counter()
    asked = [{"prompt_token_ids": ids} for ids in prompts]
    parameters = [vllm.SamplingParams(**one) for one in decoders]
    outputs = llm.generate(asked, parameters, use_tqdm=False)
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    return time.perf_counter() - start, made


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
