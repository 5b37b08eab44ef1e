"""How fast the engines are beside their peers, on this machine, in one run.

    .venv-engines/bin/python benchmarks/engines.py [--quick] [--real]     (after make test-engines)

Three races on one random Llama of 4 M parameters without an end token:

- base and two adapters (one with --quick) in one vLLM against separate loads, end to end;
- vLLM through the harness, into a run directory, against a bare `LLM.generate` of the same
  requests, by one loaded LLM; alternating rounds, medians;
- a run end to end, loading included, against transformers one prompt at a time, in processes of
  their own.

With --real the last two, on SmolLM2-135M-Instruct (or --model DIR), with Ray and in tokens a
second, and vLLM and `vllm serve` with a seed a row against none (engines_real.py).

The last line is JSON; each ratio is the peer's seconds by ours, so above 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers

sys.path.append(str(Path(__file__).parent / "peers"))
sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the tests' way to start a server
from bare_vllm import Rows, check_same, count_tokens, open_bare, time_bare, time_harness
from engines_real import find_checkpoint, race
from generate import SENTENCE, build
from rich.console import Console
from safetensors.torch import save_file

from tofu_eval.core.types import Prompt, Request, Sampling, seed_of
from tofu_eval.engines.open import join_engines
from tofu_eval.run.store import Run

PEERS = Path(__file__).parent / "peers"

SAMPLES = 10
ARGUMENTS = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28}
ADAPTERS = {**ARGUMENTS, "adapters": "mixed"}
"""Mixed for one adapter too: what is compared is the number of loads."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer prompts; loading dominates")
    parser.add_argument("--real", action="store_true", help="a real language model")
    parser.add_argument("--model", metavar="DIR", help="a checkpoint for --real")
    parser.add_argument("--prompts", type=int, metavar="N", help="for --real, instead of 100")
    arguments = parser.parse_args()
    quick = arguments.quick
    prompts, tokens, rounds = (4, 12, 2) if quick else (100, 64, 5)
    transformers.utils.logging.disable_progress_bar()
    console = Console(width=100)
    if arguments.real:
        with tempfile.TemporaryDirectory() as name:
            model = find_checkpoint(arguments.model)
            figures = race(Path(name), model, console, quick=quick, prompts=arguments.prompts)
        print(json.dumps({"benchmark": "engines", "real": True, "quick": quick, **figures}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters, _ = build(folder / "model")
        words = SENTENCE.split()
        texts = [" ".join([words[i % len(words)], *words[: 2 + i % 11]]) for i in range(prompts)]
        console.print(
            f"Llama of {parameters / 1e6:.1f} M parameters, float32, CPU, one thread; "
            f"{prompts} prompts x {SAMPLES} samples x {tokens} tokens, temperature 1."
        )
        one, apart, engine = race_adapters(
            folder, texts[: max(4, prompts // 4)], tokens, 1 if quick else 2
        )
        console.print(f"base and adapters: one engine {one:.1f} s, a load each {apart:.1f} s")
        harness, bare = race_vllm(folder, engine, texts[: max(4, prompts // 2)], tokens, rounds)
        engine.close()
        console.print(f"vLLM, loaded: harness {harness:.2f} s, bare LLM.generate {bare:.2f} s")
        seconds = race_paper(folder, texts, tokens)
        for who, value in seconds.items():
            console.print(f"end to end: {who} {value:.1f} s")
    paper = seconds["one prompt at a time"]
    ratios = {who: round(paper / seconds[who], 2) for who in ("transformers", "vllm")}
    result = {
        "benchmark": "engines",
        "quick": quick,
        "threads": 1,
        "parameters": parameters,
        "prompts": prompts,
        "samples": SAMPLES,
        "tokens": tokens,
        "vllm_vs_bare": round(bare / harness, 3),
        "vs_one_prompt_at_a_time": min(ratios.values()),
        "vs_one_prompt_at_a_time_transformers": ratios["transformers"],
        "vs_one_prompt_at_a_time_vllm": ratios["vllm"],
        "adapters_vs_separate_loads": round(apart / one, 2),
    }
    print(json.dumps(result))


def ask(texts: Sequence[str], tokens: int, model: str = "m", turn: int = 0) -> list[Request]:
    """`turn` makes other keys and seeds, so that nothing is found done or cached."""
    sampling = Sampling(SAMPLES, 1.0, 1.0, tokens)
    made = []
    for i, text in enumerate(texts):
        for s in range(SAMPLES):
            seed = seed_of(turn, model, i, s)
            key = f"{turn}-{model}-{i}-{s}"
            made.append(Request(key, seed, model, "t", str(i), s, sampling, text))
    return made


def race_vllm(
    folder: Path, engine: Any, texts: Sequence[str], tokens: int, rounds: int
) -> tuple[float, float]:
    """Median seconds of the harness and of bare vLLM, one LLM for both; a round to warm up.

    Who begins changes with each round.
    """
    times: dict[str, list[float]] = {"harness": [], "bare": []}
    with Run.writing(folder / "run") as run:
        run.write_prompts("t", [Prompt.of_text(str(i), text) for i, text in enumerate(texts)])
        run.save(notes=[])
        for turn in range(rounds + 1):
            requests = ask(texts, tokens, "base", turn + 1)
            races: dict[str, Callable[[], tuple[float, Rows]]] = {
                "harness": partial(time_harness, run, engine, requests),
                "bare": partial(time_bare, engine, requests),
            }
            made = {}
            for who in list(races)[:: -1 if turn % 2 else 1]:
                seconds, made[who] = races[who]()
                if turn:
                    times[who].append(seconds)
            check_same(made["harness"], made["bare"])
            if count_tokens(made["bare"]) != len(requests) * tokens:
                raise SystemExit(f"Bare vLLM made {count_tokens(made['bare'])} tokens.")
    return statistics.median(times["harness"]), statistics.median(times["bare"])


def race_paper(folder: Path, texts: list[str], tokens: int) -> dict[str, float]:
    """Seconds of whole processes: the paper's way, and a run with each engine."""
    model = str(folder / "model")
    paper = (
        f"import sys; sys.path.insert(0, {str(PEERS)!r})\n"
        "from bare import one_prompt_at_a_time as run\n"
        f"assert run({model!r}, {texts!r}, {SAMPLES}, {tokens}) == {len(texts) * SAMPLES * tokens}"
    )
    seconds = {"one prompt at a time": _timed([sys.executable, "-c", paper])}
    for engine in ("transformers", "vllm"):
        arguments = ARGUMENTS if engine == "vllm" else {}
        script = (
            "import torch; torch.set_num_threads(1)\n"
            "import tofu_eval as te\n"
            f"prompts = [te.Prompt.of_text(str(i), t) for i, t in enumerate({texts!r})]\n"
            f"sampling = te.Sampling({SAMPLES}, 1.0, 1.0, {tokens})\n"
            "task = te.Task('t', 1, lambda: prompts, sampling=sampling)\n"
            f"te.evaluate({{'m': {model!r}}}, [task], {str(folder / engine)!r}, engine={engine!r},"
            f" engine_args={arguments!r}, device='cpu', metrics=['unique_rate'])"
        )
        seconds[engine] = _timed([sys.executable, "-c", script])
    return seconds


def race_adapters(
    folder: Path, texts: Sequence[str], tokens: int, adapters: int
) -> tuple[float, float, Any]:
    """Seconds for base and adapters, from one engine and from one each; the base's stays open.

    The one engine comes first: what vLLM compiles once a machine is counted against it.
    """
    refs = {"base": str(folder / "model")}
    for number in range(1, adapters + 1):
        _adapter(folder / "model", folder / f"adapter-{number}", number)
        refs[f"a{number}"] = f"{folder / 'model'}+{folder / f'adapter-{number}'}"
    start = time.perf_counter()
    engine = join_engines([open_bare(name, ref, ADAPTERS) for name, ref in refs.items()])
    _drain(engine, [request for name in refs for request in ask(texts, tokens, name)])
    engine.close()
    one, start = time.perf_counter() - start, time.perf_counter()
    for name in reversed(refs):
        engine = open_bare(name, refs[name], ADAPTERS)
        _drain(engine, ask(texts, tokens, name))
        if name != "base":
            engine.close()
    return one, time.perf_counter() - start, engine


def _drain(engine: Any, requests: list[Request]) -> None:
    made = sum(len(batch) for batch in engine.generate(requests))
    if made != len(requests):
        raise SystemExit(f"{made} rows of {len(requests)}")


def _adapter(base: Path, folder: Path, seed: int, rank: int = 8) -> None:
    """A LoRA of random weights, written without peft, whose import takes seconds."""
    config = transformers.AutoConfig.from_pretrained(base)
    head = config.hidden_size // config.num_attention_heads
    stream = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(config.num_hidden_layers):
        for name, heads in (
            ("q_proj", config.num_attention_heads),
            ("v_proj", config.num_key_value_heads),
        ):
            place = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            for part, shape in (("A", (rank, config.hidden_size)), ("B", (heads * head, rank))):
                made = torch.randn(shape, generator=stream) * 0.1
                weights[f"{place}.lora_{part}.weight"] = made
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank}
    told |= {"target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(told))


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
