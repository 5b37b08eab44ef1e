"""What each metric costs, and whether memory grows with the number of prompts.

    python benchmarks/costs.py --quick
    python benchmarks/costs.py --language-model PATH --write   # and keep the seconds in the package

Memory: what `tofu-eval score` takes on files of 250 and of 1,000 prompts with 16 responses of 40
words, a process each, with tiny models of random weights, whose own memory is small and fixed. Flat
is what takes at most a tenth more for four times the prompts. Quick: 64 and 256 prompts with 4,
both in one process, which shows that all works, and gross growth (by the square of the prompts).

Seconds: CPU seconds of one thread for 1,000 responses. Of a metric, given what it needs but for
tokens, which it makes; of what it needs from a model, on as many responses as the line says, with
all-MiniLM-L6-v2 and the language model in float32.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SAMPLES, WORDS = 16, 40
FLAT, FLAT_QUICK = 1.1, 1.25
"""How much more memory four times the prompts may take. On the few of a quick run, buffers of a
fixed size are not full yet, and count as growth."""

CODE = """Here it is:

```python
def {name}(values, limit={limit}):
    total = 0
    for value in values:
        if value > limit:
            total += value * {factor}
        else:
            total -= {offset}
    result = []
    while total > 0:
        result.append(total % 10)
        total //= 10
    return result or [{offset}]
```"""


ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Wanted:
    """Which of the two parts."""

    memory: bool
    seconds: bool


@dataclass(frozen=True)
class Case:
    """What is scored: metrics, and settings that name files of the folder."""

    metrics: tuple[str, ...]
    settings: Callable[[Path], dict[str, Any]]
    code: bool = False
    one_prompt: bool = False


def _embedding(folder: Path) -> dict[str, Any]:
    return {"embedding": {"model": str(folder / "encoder")}}


def _likelihood(folder: Path) -> dict[str, Any]:
    return {"likelihood": {"model": str(folder / "language-model")}}


CASES = {
    "given the prompt": Case(
        ("cosine_distance_given_prompt", "vendi_given_prompt", "prompt_echo_rate"), _embedding
    ),
    "likelihood": Case(
        ("perplexity", "coherence", "conditional_surprise", "decan", "pairwise_redundancy"),
        _likelihood,
    ),
    "training data": Case(
        ("training_overlap", "training_redundancy", "training_redundancy_random"),
        lambda folder: {**_likelihood(folder), "training": {"data": str(folder / "sft.jsonl")}},
    ),
    "tags": Case(
        ("recurring_templates", "template_rate", "compression_ratio_gzip_pos"), lambda _: {}
    ),
    "programs": Case(("distinct_k",), lambda _: {"equivalence": {"method": "program"}}, code=True),
    "across prompts": Case(
        (
            *("cosine_distance_across_prompts", "vendi_across_prompts"),
            *("recurring_openings", "recurring_phrases"),
        ),
        _embedding,
    ),
    "classes by inference": Case(
        ("distinct_k", "semantic_entropy"),
        lambda folder: {
            "equivalence": {"method": "nli"},
            "nli": {"model": str(folder / "inference")},
        },
    ),
    "near duplicates": Case(("near_duplicate_rate",), lambda _: {}, one_prompt=True),
}


# Texts


def sentences() -> list[str]:
    from tofu_eval.features.causal_embedding import CENTRE

    return CENTRE.read_text("utf-8").splitlines()


def make_texts(count: int, draw: random.Random, *, code: bool = False) -> list[str]:
    """Responses of WORDS words out of the package's sentences, or programs."""
    if code:
        names = ["total", "digits", "parts", "figures"]
        return [
            CODE.format(
                name=draw.choice(names),
                limit=draw.randrange(50),
                factor=draw.randrange(9),
                offset=draw.randrange(9),
            )
            for _ in range(count)
        ]
    known, texts = sentences(), []
    for _ in range(count):
        words: list[str] = []
        while len(words) < WORDS:
            words += draw.choice(known).split()
        texts.append(" ".join(words[:WORDS]))
    return texts


def write_rows(path: Path, prompts: int, samples: int, *, code: bool) -> None:
    draw, known = random.Random(0), sentences()
    with path.open("w", encoding="utf-8") as file:
        for number in range(prompts):
            row = {
                "id": str(number),
                "prompt": f"Write something about {draw.choice(known)}",
                "responses": make_texts(samples, draw, code=code),
            }
            file.write(json.dumps(row) + "\n")


# Tiny models


def build_models(folder: Path) -> None:
    """An encoder, a language model and a classifier of inference, with random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    tokenizer = _tokenizer()
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "pad_token_id": 0}
    wide = {"hidden_size": 384, "intermediate_size": 64, "num_attention_heads": 4}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    torch.manual_seed(0)
    BertModel(BertConfig(**sizes, **wide)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "encoder"))
    labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
    config = BertConfig(**sizes, **small, id2label=labels, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(folder / "inference")
    LlamaForCausalLM(
        LlamaConfig(**sizes, **small, max_position_embeddings=8192, tie_word_embeddings=True)
    ).save_pretrained(folder / "language-model")
    for name in ("inference", "language-model"):
        tokenizer.save_pretrained(folder / name)
    draw = random.Random(1)
    rows = [
        {"prompt": f"Write something about {text[:20]}", "completion": text}
        for text in make_texts(500, draw)
    ]
    (folder / "sft.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[END]"]
    splitter = pre_tokenizers.Whitespace()
    texts = [*sentences(), "Write something about", "Response A: B: C: D: E: F: G: H: I: J: K: L:"]
    words = [word for text in texts for word, _ in splitter.pre_tokenize_str(text)]
    numbers = {word: n for n, word in enumerate([*special, *dict.fromkeys(words)])}
    made = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    made.pre_tokenizer = splitter
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]",
        model_max_length=8192,
    )  # fmt: skip


# Memory


def score_case(name: str, prompts: int, samples: int, folder: Path) -> dict[str, Any]:
    """Score a file in this process, and say what it took."""
    import tofu_eval as te

    case = CASES[name]
    if case.one_prompt:
        prompts, samples = 1, prompts * 10
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "rows.jsonl"
        write_rows(file, prompts, samples, code=case.code)
        start = time.process_time()
        result = te.score_files(
            [("model", file)],
            Path(place) / "run",
            metrics=list(case.metrics),
            device="cpu",
            **case.settings(folder),
        )
        seconds = time.process_time() - start
        values = {row["metric"]: row["value"] for row in result.estimates.to_pylist()}
        missing = [metric for metric in case.metrics if values.get(metric) is None]
    if missing:
        raise SystemExit(f"{name}: no value of {missing}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"responses": prompts * samples, "seconds": seconds, "mib": peak}


def child(*arguments: str) -> dict[str, Any]:
    """This script with other arguments, in a process of its own of one thread."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


Measured = dict[str, dict[str, Any]]


def measure(names: Sequence[str], language_model: Sequence[str], wanted: Wanted) -> Measured:
    """Memory and seconds; each case and size in a process of its own."""
    memory = {}
    if wanted.memory:
        with tempfile.TemporaryDirectory() as place:
            child("--build", place)
            for name in names:
                asked = [(name, str(size), str(SAMPLES), place) for size in (250, 1000)]
                sizes = [child("--case", *each) for each in asked]
                memory[name] = compare_sizes(name, *sizes, at_most=FLAT)
    seconds = child("--seconds", *language_model) if wanted.seconds else {}
    return {"memory": memory, "seconds": seconds}


PRELOADED = [
    "torch",
    "transformers",
    "sentence_transformers",
    "spacy",
    "tofu_eval.pipeline.evaluate",
]


def measure_quickly(names: Sequence[str], language_model: str | None, wanted: Wanted) -> Measured:
    """The same on fewer prompts, in processes that begin with everything imported."""
    os.environ.update(ONE_THREAD)
    forked = get_context("forkserver")
    forked.set_forkserver_preload(PRELOADED)
    with (
        tempfile.TemporaryDirectory() as place,
        ProcessPoolExecutor(2, mp_context=forked, max_tasks_per_child=1) as pool,
    ):
        seconds = pool.submit(time_all, language_model) if wanted.seconds else None
        memory = {}
        if wanted.memory:
            pool.submit(build_models, Path(place)).result()
            both = partial(score_both_sizes, folder=Path(place))
            for name, sizes in zip(names, pool.map(both, names), strict=True):
                memory[name] = compare_sizes(name, *sizes, at_most=FLAT_QUICK)
        return {"memory": memory, "seconds": seconds.result() if seconds else {}}


def score_both_sizes(name: str, folder: Path) -> list[dict[str, Any]]:
    return [score_case(name, size, 4, folder) for size in (64, 256)]


def time_all(language_model: str | None) -> dict[str, Any]:
    from seconds import measure_seconds

    return measure_seconds(language_model, quick=True)


def compare_sizes(
    name: str, quarter: dict[str, Any], full: dict[str, Any], *, at_most: float
) -> dict[str, Any]:
    """What a case took at a quarter and at full size."""
    growth = full["mib"] / quarter["mib"]
    more = (full["mib"] - quarter["mib"]) / (full["responses"] - quarter["responses"])
    print(
        f"{name:22} {quarter['mib']:6.0f} MiB at {quarter['responses']:>6}, "
        f"{full['mib']:6.0f} MiB at {full['responses']:>6} responses: "
        f"{'flat' if growth <= at_most else 'grows'} ({growth:.2f}), "
        f"{more * 1024:.1f} KiB a response; {full['seconds']:.1f} s of CPU",
        flush=True,
    )
    return {
        "responses": [quarter["responses"], full["responses"]],
        "mib": [round(quarter["mib"]), round(full["mib"])],
        "growth": round(growth, 3),
        "kib_a_response": round(more * 1024, 2),
        "flat": growth <= at_most,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the responses")
    parser.add_argument("--only", action="append", choices=CASES, help="memory of these alone")
    parser.add_argument("--language-model", help="also time what costs a language model")
    parser.add_argument("--no-memory", action="store_true", help="seconds alone")
    parser.add_argument("--write", action="store_true", help="keep the seconds in the package")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        name, prompts, samples, folder = chosen.case
        print(json.dumps(score_case(name, int(prompts), int(samples), Path(folder))))
        return
    if chosen.build:
        build_models(chosen.build)
        print("{}")
        return
    if chosen.seconds:
        from seconds import measure_seconds

        print(json.dumps(measure_seconds(chosen.language_model, quick=False)))
        return
    names, wanted = chosen.only or list(CASES), Wanted(not chosen.no_memory, not chosen.only)
    model = ["--language-model", chosen.language_model] if chosen.language_model else []
    found = (
        measure_quickly(names, chosen.language_model, wanted)
        if chosen.quick
        else measure(names, model, wanted)
    )
    memory, seconds = found["memory"], found["seconds"]
    if seconds:
        for name, row in seconds["needs"].items():
            print(f"{name:32} {row['seconds']:9.3f} s for 1,000 (from {row['responses']})")
        for name, each in seconds["metrics"].items():
            print(f"{name:32} {each:9.4f} s for 1,000 responses")
    if chosen.write and seconds:
        write_costs(seconds)
    flat = [name for name, row in memory.items() if row["flat"]]
    print(
        json.dumps(
            {
                "benchmark": "costs",
                "quick": chosen.quick,
                "flat": flat,
                "grows": [name for name in memory if name not in flat],
                "memory": memory,
                "seconds": seconds,
            }
        )
    )


def write_costs(seconds: dict[str, Any]) -> None:
    """Keep the seconds as data of the package; what was not measured now stays as it is."""
    import tofu_eval.metrics as package

    place = Path(package.__file__).with_name("costs.json")
    kept = json.loads(place.read_text("utf-8")) if place.exists() else {}
    content = {
        "made": date.today().isoformat(),
        **{part: {**kept.get(part, {}), **seconds[part]} for part in ("needs", "metrics")},
    }
    place.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
