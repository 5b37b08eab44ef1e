"""The peers of engines.py: bare vLLM, beside ours in one process; one prompt at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tofu_eval.engines.vllm_worker import Vllm


class BareVllm(Vllm):
    """The harness's own worker, which also answers as bare vLLM would."""

    def load(
        self, model: str, arguments: Mapping[str, Any], adapters: Sequence[tuple[str, str]]
    ) -> dict[str, Any]:
        # A bare LLM has a tokenizer, and makes texts with it.
        return super().load(model, {**arguments, "skip_tokenizer_init": False}, adapters)

    def bare(
        self, prompts: Sequence[Sequence[int]], decoders: Sequence[Mapping[str, Any]]
    ) -> tuple[float, list[list[int]]]:
        """Seconds of `LLM.generate`, and the tokens that it made."""
        import vllm

        start = time.perf_counter()
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        parameters = [vllm.SamplingParams(**one) for one in decoders]
        outputs = self._llm.generate(asked, parameters, use_tqdm=False)
        seconds = time.perf_counter() - start
        return seconds, [list(output.outputs[0].token_ids) for output in outputs]


def one_prompt_at_a_time(
    folder: str, texts: list[str], samples: int, tokens: int, *, chat: bool = False
) -> int:
    """As scripts for papers do: transformers, `num_return_sequences`, no batches of prompts.

    Returns: how many tokens it made, each response's end token included.
    """
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    made = 0
    for text in texts:
        if chat:
            turns = [{"role": "user", "content": text}]
            inputs = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
        else:
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
        if model.generation_config.eos_token_id is None:
            made += new.numel()
        else:  # what comes after a row's first end token is padding
            ended = torch.isin(new, torch.tensor(model.generation_config.eos_token_id))
            made += int((ended.cumsum(1) - ended.long() == 0).sum())
    return made
