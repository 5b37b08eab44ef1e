"""How fast the transformers engine is, and where its time goes.

    python benchmarks/generate.py [--quick]

The batched engine against generating one prompt at a time with `num_return_sequences`, as
scripts for papers do. Both sides use one random Llama, built on the spot and saved, and make the
same number of tokens: it has no end token, so every response runs to its full length. The rounds
alternate in one process after a warm-up; the medians are compared. The last line is JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Request, Sampling
from tofu_eval.engines.prompts import Encoder
from tofu_eval.engines.sampler import Draw
from tofu_eval.engines.transformers import TransformersEngine

VOCABULARY = 16_000
SAMPLES = 10
FAST, SLOW = "engine", "one prompt at a time"
Who = tuple[str, float]
SENTENCE = "the quiet river keeps an old letter under its stones until a child reads it"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under a minute")
    quick = parser.parse_args().quick
    prompts, tokens, rounds = (16, 12, 3) if quick else (32, 32, 5)
    torch.set_num_threads(1)  # two threads on two shared cores wait for each other
    transformers.utils.logging.disable_progress_bar()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        parameters, width = build(Path(folder))
        console.print(
            f"Llama of {parameters / 1e6:.1f} M parameters, vocabulary {VOCABULARY}, perplexity of "
            f"its next token {width:.0f}, float32, CPU, one thread; {prompts} prompts x {SAMPLES} "
            f"samples x {tokens} tokens, temperature 1; median of {rounds} alternating rounds."
        )
        seconds = measure(console, folder, prompts, tokens, rounds)
    made = prompts * SAMPLES * tokens
    result = {
        "benchmark": "generate",
        "quick": quick,
        "threads": 1,
        "parameters": parameters,
        "vocabulary": VOCABULARY,
        "prompts": prompts,
        "samples": SAMPLES,
        "tokens": tokens,
        "tokens_per_second": round(made / seconds[FAST, 0.9], 1),
        "speedup_vs_one_prompt_at_a_time": round(seconds[SLOW, 0.9] / seconds[FAST, 0.9], 2),
        "speedup_vs_one_prompt_at_a_time_top_p_1": round(
            seconds[SLOW, 1.0] / seconds[FAST, 1.0], 2
        ),
    }
    print(json.dumps(result))


def measure(
    console: Console, folder: str, prompts: int, tokens: int, rounds: int
) -> dict[Who, float]:
    """Race both sides at both settings of top-p, then show where the engine's time goes."""
    engine = TransformersEngine(parse_model(folder), batch_size=160, device="cpu")
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    words = SENTENCE.split()
    texts = [" ".join(words[: 3 + i % (len(words) - 3)]) for i in range(prompts)]
    asked = {top_p: ask(texts, Sampling(SAMPLES, 1.0, top_p, tokens)) for top_p in (0.9, 1.0)}
    runs: dict[Who, Callable[[], int]] = {}
    for top_p, requests in asked.items():
        runs[FAST, top_p] = functools.partial(batched, engine, requests)
        runs[SLOW, top_p] = functools.partial(one_at_a_time, plain, tokenizer, texts, top_p, tokens)
    made = prompts * SAMPLES * tokens
    seconds = race(runs, made, rounds)
    table = Table("run", "seconds", "tokens/s")
    for (who, top_p), value in seconds.items():
        table.add_row(f"{who}, top_p {top_p}", f"{value:.2f}", f"{made / value:,.0f}")
    console.print(table)
    for top_p, requests in asked.items():
        show_parts(console, engine, requests, top_p)
    return seconds


def build(folder: Path) -> tuple[int, float]:
    """Save a random model; return its number of parameters and the width of its distribution."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {
        f"Ġ{word}": len(alphabet) + i for i, word in enumerate(dict.fromkeys(SENTENCE.split()))
    }
    pieces = {letter: i for i, letter in enumerate(alphabet)} | words
    pieces |= {f"Ġword{i}": i for i in range(len(pieces), VOCABULARY)}
    raw = Tokenizer(models.WordLevel(pieces, unk_token=alphabet[0]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    raw.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    with torch.no_grad():
        logprobs = model(torch.arange(300, 400)[None]).logits[0].log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1).mean()
    return model.num_parameters(), float(entropy.exp())


def ask(texts: list[str], sampling: Sampling) -> list[Request]:
    return [
        Request(f"{i}-{s}", i * SAMPLES + s, "m", "t", str(i), s, sampling, text)
        for i, text in enumerate(texts)
        for s in range(sampling.samples)
    ]


def batched(engine: TransformersEngine, requests: list[Request]) -> int:
    return sum(len(row.token_ids or ()) for batch in engine.generate(requests) for row in batch)


def one_at_a_time(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    texts: list[str],
    top_p: float,
    tokens: int,
) -> int:
    made = 0
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        out = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_p=top_p,
            top_k=0,
            num_return_sequences=SAMPLES,
            max_new_tokens=tokens,
        )
        new = out[:, inputs.input_ids.shape[1] :]
        tokenizer.batch_decode(new, skip_special_tokens=True)
        made += new.numel()
    return made


def race(runs: dict[Who, Callable[[], int]], tokens: int, rounds: int) -> dict[Who, float]:
    """Median seconds of each; the first round is the warm-up."""
    times: dict[Who, list[float]] = defaultdict(list)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for turn in range(rounds + 1):
            for who, run in runs.items():
                start = time.perf_counter()
                made = run()
                elapsed = time.perf_counter() - start
                if made != tokens:
                    raise SystemExit(f"{who} made {made} tokens, not {tokens}.")
                if turn:
                    times[who].append(elapsed)
    return {who: statistics.median(seconds) for who, seconds in times.items()}


def show_parts(
    console: Console, engine: TransformersEngine, requests: list[Request], top_p: float
) -> None:
    """One more run of the engine with a clock around each of its parts."""
    spent: dict[str, float] = defaultdict(float)
    with clocked(engine, spent):
        start = time.perf_counter()
        batched(engine, requests)
        whole = time.perf_counter() - start
    spent["generation loop and the rest"] = whole - sum(spent.values())
    table = Table(f"part of the engine, top_p {top_p}", "seconds", "share")
    for name, value in spent.items():
        table.add_row(name, f"{value:.3f}", f"{value / whole:.1%}")
    console.print(table)


def timed(function: Any, label: Callable[[dict[str, Any]], str], spent: dict[str, float]) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[label(kwargs)] += time.perf_counter() - start

    return run


@contextmanager
def clocked(engine: TransformersEngine, spent: dict[str, float]) -> Iterator[None]:
    model, tokenizer = engine._model, engine._encoder.tokenizer

    def forward(kwargs: dict[str, Any]) -> str:
        return "decode" if kwargs["input_ids"].shape[1] == 1 else "prefill"

    parts = [
        (Encoder, "_encode_text", lambda _: "tokenise"),
        (model, "forward", forward),
        (Draw, "__call__", lambda _: "draw"),
        (tokenizer, "batch_decode", lambda _: "tokens to text"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    for owner, name, label in parts:
        setattr(owner, name, timed(getattr(owner, name), label, spent))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


if __name__ == "__main__":
    main()
