"""Lexical metrics beside their peers: same texts, one run, a process for each measurement.

    python benchmarks/metrics.py --quick                  # a tenth of the texts

Times are CPU seconds of one thread, compiled code warm, texts in memory. A peer that would take
hours is measured on the first prompts only, or, in a pooled corpus, on the first texts with all the
others as references: what it does for each is the same, so its seconds are scaled to all of them.
A peer that is not installed has null in the JSON, which is the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from math import fsum
from typing import Any

SAMPLES, WORDS = 16, 200
Measured = dict[str, Any]


def corpus(prompts: int, samples: int = SAMPLES, *, unique: float = 0.0) -> list[list[str]]:
    """Groups of texts of about WORDS words, Zipf-distributed, that share phrases within a group."""
    stream = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(stream.choices(letters[:20], k=stream.randint(2, 9))) for _ in range(20_000)]
    upto = list(accumulate(1 / (rank + 1) for rank in range(len(words))))
    marks = [""] * 12 + [",", ",", ".", "?", "'s", "!"]
    groups = []
    for _ in range(prompts):
        phrases = [" ".join(stream.choices(words, cum_weights=upto, k=5)) for _ in range(40)]
        texts = []
        for _ in range(samples):
            made: list[str] = []
            while len(made) < WORDS:
                if stream.random() < 0.2:
                    made += stream.choice(phrases).split()
                else:
                    (word,) = stream.choices(words, cum_weights=upto)
                    if stream.random() < unique:
                        word += str(stream.randrange(10**9))
                    made.append(word + stream.choice(marks))
            texts.append(" ".join(made).capitalize() + ".")
        groups.append(texts)
    return groups


def timed(work: Callable[[], Any]) -> Measured:
    start = time.process_time()
    value = work()
    return {"seconds": time.process_time() - start, "value": value}


# Each case is (size, samples) -> seconds and values; it runs in a process of its own


def ours_self_bleu(prompts: int, samples: int) -> Measured:
    from tofu_eval.features.text import tokens
    from tofu_eval.metrics.self_bleu import self_bleu

    groups = corpus(prompts, samples)
    self_bleu(tokens(groups[0], "tokens_13a"))
    return timed(lambda: [self_bleu(tokens(texts, "tokens_13a")) for texts in groups])


def sacrebleu_self_bleu(prompts: int, samples: int) -> Measured:
    from sacrebleu.metrics.bleu import BLEU

    groups = corpus(prompts, samples)

    def one(texts: list[str]) -> float:
        bleu = BLEU(tokenize="13a", lowercase=True, effective_order=True)
        scores = [
            bleu.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score
            for i, text in enumerate(texts)
        ]
        return fsum(scores) / len(scores)

    one(groups[0][:2])
    return timed(lambda: [one(texts) for texts in groups])


def ours_pooled(texts: int, _: int) -> Measured:
    return _ours_pooled("tokens_wordpunct", "self_bleu_texygen", texts)


def ours_pooled_13a(texts: int, _: int) -> Measured:
    return _ours_pooled("tokens_13a", "self_bleu", texts)


def _ours_pooled(need: str, name: str, texts: int) -> Measured:
    from tofu_eval.core.tokens import Tokens
    from tofu_eval.features.text import tokens
    from tofu_eval.metrics import METRICS, _bleu

    (group,) = corpus(1, texts)
    found = METRICS.get(name)
    found(tokens(group[:3], need))
    done = timed(lambda: found(tokens(group, need)))
    counts = _bleu.leave_one_out(Tokens.of(tokens(group, need)))
    each = (
        _bleu.nltk(counts, (0.25,) * 4, 0.1)
        if name == "self_bleu_texygen"
        else _bleu.sacrebleu(counts, effective_order=True)
    )
    return {**done, "value": each.tolist()}


def nltk_pooled(texts: int, hypotheses: int) -> Measured:
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    (group,) = corpus(1, texts)
    rows = [wordpunct_tokenize(text) for text in group]
    smooth = SmoothingFunction().method1
    found = timed(
        lambda: [
            sentence_bleu([*rows[:i], *rows[i + 1 :]], row, (0.25,) * 4, smoothing_function=smooth)
            for i, row in enumerate(rows[:hypotheses])
        ]
    )
    return {**found, "scaled": texts / hypotheses}


def sacrebleu_pooled(texts: int, hypotheses: int) -> Measured:
    from sacrebleu.metrics.bleu import BLEU

    (group,) = corpus(1, texts)
    bleu = BLEU(tokenize="13a", lowercase=True, effective_order=True)
    bleu.sentence_score(group[0], group[1:3])
    found = timed(
        lambda: [
            bleu.sentence_score(text, [*group[:i], *group[i + 1 :]]).score
            for i, text in enumerate(group[:hypotheses])
        ]
    )
    return {**found, "scaled": texts / hypotheses}


def fast_bleu_pooled(texts: int, _: int) -> Measured:
    from fast_bleu import SelfBLEU
    from nltk.tokenize import wordpunct_tokenize

    (group,) = corpus(1, texts)

    def work() -> list[float]:
        rows = [wordpunct_tokenize(text) for text in group]
        return list(SelfBLEU(rows, {4: (0.25,) * 4}).get_score()[4])

    return timed(work)


def ours_rouge(prompts: int, samples: int) -> Measured:
    from tofu_eval.features.text import tokens
    from tofu_eval.metrics.rouge import rouge_l_homogenization

    groups = corpus(prompts, samples)
    rouge_l_homogenization(tokens(groups[0][:2], "tokens_rouge"))
    return timed(lambda: [rouge_l_homogenization(tokens(t, "tokens_rouge")) for t in groups])


def diversity_rouge(prompts: int, samples: int) -> Measured:
    # diversity.homogenization imports `evaluate` and spaCy; this is its loop, without rounding.
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)

    def one(texts: list[str]) -> float:
        total = 0.0
        for i, text in enumerate(texts):
            others = [*texts[:i], *texts[i + 1 :]]
            found = sum(scorer.score(other, text)["rougeL"].fmeasure for other in others)
            total += found / len(others)
        return total / len(texts)

    groups = corpus(prompts, samples)
    return timed(lambda: [one(texts) for texts in groups])


def _embeddings(n: int) -> Any:
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(n, 384))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ours_vendi(n: int, _: int) -> Measured:
    from tofu_eval.metrics.vendi import vendi

    rows = _embeddings(n)
    vendi(rows[:10])
    return timed(lambda: vendi(rows))


def vendi_score_vendi(n: int, _: int) -> Measured:
    from vendi_score import vendi

    rows = _embeddings(n)
    vendi.score_K(rows[:10] @ rows[:10].T)
    return timed(lambda: float(vendi.score_K(rows @ rows.T)))


def ours_default_set(prompts: int, samples: int) -> Measured:
    import tofu_eval as te
    from tofu_eval.metrics import METRICS
    from tofu_eval.pipeline.plan import DEFAULT_METRICS
    from tofu_eval.pipeline.score import score_each

    metrics = [m for n in DEFAULT_METRICS if (m := METRICS.get(n)).cost == "cpu"]
    groups = [
        te.Group(te.Prompt.of_text(str(i), "?"), tuple(texts))
        for i, texts in enumerate(corpus(prompts, samples))
    ]

    def work(count: int) -> int:
        # In chunks, as a run is scored; only the numbers are kept.
        return sum(
            len(score_each(groups[i : min(i + 64, count)], metrics, None))
            for i in range(0, count, 64)
        )

    work(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = timed(lambda: work(prompts))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # All words have been seen now: what is left is what each prompt costs.
    again, tenth = timed(lambda: work(prompts)), timed(lambda: work(prompts // 10))
    return {
        **found,
        "extra_mib": (after - before) / 1024,
        "growth": again["seconds"] / tenth["seconds"],
    }


def _varied_texts(n: int) -> list[str]:
    """n texts of 3 to 200 words, most of them short."""
    stream = random.Random(1)
    words = [word for group in corpus(5) for text in group for word in text.split()]
    lengths = [min(WORDS, max(3, int(stream.lognormvariate(3.4, 0.6)))) for _ in range(n)]
    starts = [stream.randrange(len(words) - length) for length in lengths]
    return [" ".join(words[a : a + length]) for a, length in zip(starts, lengths, strict=True)]


def embedding_both(texts: int, _: int) -> Measured:
    """Ours as a run calls it, sorted by length, CHUNK at a time, and plain `encode`, in turns.

    One thread; who comes first changes from turn to turn.
    """
    from tofu_eval.core.types import Prompt
    from tofu_eval.features.base import CHUNK
    from tofu_eval.features.sentence_embedder import SentenceEmbedder

    made = _varied_texts(texts)
    prompt = Prompt.of_text("p", "")
    embedder = SentenceEmbedder(device="cpu")
    embedder.compute([(prompt, text) for text in made[:8]])
    plain = embedder._encoder
    seconds = {"ours": 0.0, "plain": 0.0}
    error = 0.0

    def ours(some: list[str]) -> dict[str, Any]:
        by_length = sorted(some, key=lambda text: (len(text), text))
        parts = [by_length[i : i + CHUNK] for i in range(0, len(by_length), CHUNK)]
        return {
            text: row
            for part in parts
            for text, row in zip(part, embedder.compute([(prompt, t) for t in part]), strict=True)
        }

    def theirs(some: list[str]) -> dict[str, Any]:
        rows = plain.encode(some, normalize_embeddings=True, show_progress_bar=False)
        return dict(zip(some, rows, strict=True))

    ways = {"ours": ours, "plain": theirs}
    for start in range(0, texts, 2 * CHUNK):  # the machine's moods strike both alike
        some, rows = made[start : start + 2 * CHUNK], {}
        for name in list(ways)[:: 1 if start % (4 * CHUNK) else -1]:
            begin = time.process_time()
            rows[name] = ways[name](some)
            seconds[name] += time.process_time() - begin
        error = max(error, *(float(abs(rows["ours"][t] - rows["plain"][t]).max()) for t in some))
    return {"seconds": seconds["ours"], "plain": seconds["plain"], "error": error, "value": 0.0}


def sacrebleu_tokenising(prompts: int, samples: int) -> Measured:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    groups = corpus(prompts, samples)
    split = Tokenizer13a()
    return timed(lambda: sum(len(split(text)) for texts in groups for text in texts))


CASES = {f.__name__: f for f in (
    ours_self_bleu, sacrebleu_self_bleu, ours_pooled, ours_pooled_13a, nltk_pooled,
    sacrebleu_pooled, fast_bleu_pooled, ours_rouge, diversity_rouge, ours_vendi, vendi_score_vendi,
    ours_default_set, sacrebleu_tokenising, embedding_both,
)}  # fmt: skip


def run(case: str, size: int, samples: int = SAMPLES) -> Measured | None:
    """One case in a process of its own; None where its peer is not installed."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--case", case, str(size), str(samples)],
        capture_output=True,
        text=True,
        env={**os.environ, **dict.fromkeys(threads, "1")},
    )
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    found = {**json.loads(done.stdout.splitlines()[-1]), "size": size, "samples": samples}
    found["seconds"] *= found.get("scaled", 1)
    scaled = "  scaled to all texts" if found.get("scaled", 1) != 1 else ""
    print(f"{case:24} {size:>5} x {samples:<4} {found['seconds']:10.3f} s{scaled}", flush=True)
    return found


def ratio(peer: Measured | None, ours: Measured, *, each: bool = True) -> float | None:
    """How many times as long the peer takes, a prompt (or text), or in all."""
    if peer is None:
        return None
    sizes = ours["size"] / peer["size"] if each else 1.0
    return round(peer["seconds"] / ours["seconds"] * sizes, 3)


def error(peer: Measured | None, ours: Measured | None) -> float:
    """The largest difference of the values that both have."""
    if peer is None or ours is None:
        return 0.0
    a, b = peer["value"], ours["value"]
    pairs = zip(a, b, strict=False) if isinstance(a, list) else [(a, b)]
    return max(abs(x - y) for x, y in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts")
    parser.add_argument("--case", nargs=3, metavar=("NAME", "SIZE", "SAMPLES"))
    chosen = parser.parse_args()
    if chosen.case:
        name, size, samples = chosen.case
        print(json.dumps(CASES[name](int(size), int(samples))))
        return
    part = 10 if chosen.quick else 1
    prompts, texts = 1000 // part, 1000 // part
    few, some = (4, 10) if chosen.quick else (50, 100)
    ours, peer = run("ours_self_bleu", prompts), run("sacrebleu_self_bleu", few)
    small, small_peer = run("ours_self_bleu", 100, 10), run("sacrebleu_self_bleu", few, 10)
    pooled = {n: run("ours_pooled", n // part, 1) for n in (500, 1000, 2000)}
    pooled_13a = run("ours_pooled_13a", texts, 1)
    nltk_peer, sacre_peer = run("nltk_pooled", texts, some), run("sacrebleu_pooled", texts, some)
    fast = run("fast_bleu_pooled", 2000 // part, 1)
    rouge, rouge_peer = run("ours_rouge", prompts), run("diversity_rouge", 1 if chosen.quick else 3)
    n = 500 if chosen.quick else 2000
    vendi, vendi_peer = run("ours_vendi", n, 1), run("vendi_score_vendi", n, 1)
    default, tokenising = run("ours_default_set", prompts), run("sacrebleu_tokenising", prompts)
    embedding = run("embedding_both", 5120 // part, 1)
    result = {
        "benchmark": "metrics",
        "quick": chosen.quick,
        "self_bleu_vs_sacrebleu": ratio(peer, ours),
        "self_bleu_vs_sacrebleu_100x10": ratio(small_peer, small),
        "pooled_self_bleu_vs_fast_bleu": ratio(fast, pooled[2000]),
        "pooled_self_bleu_vs_nltk": ratio(nltk_peer, pooled[1000]),
        "pooled_self_bleu_vs_sacrebleu": ratio(sacre_peer, pooled_13a),
        "pooled_growth_from_500_to_2000": ratio(pooled[2000], pooled[500], each=False),
        "homogenization_vs_diversity": ratio(rouge_peer, rouge),
        "vendi_vs_vendi_score": ratio(vendi_peer, vendi),
        "default_set_vs_tokenising": ratio(default, tokenising),
        "embedding_vs_sentence_transformers": embedding
        and round(embedding["plain"] / embedding["seconds"], 3),
        "embedding_max_abs_error": embedding and embedding["error"],
        "growth_from_1x_to_10x": round(default["growth"], 2),
        "extra_memory_mib": round(default["extra_mib"], 1),
        "max_abs_error": max(
            error(peer, ours),
            error(small_peer, small),
            error(nltk_peer, pooled[1000]),
            error(sacre_peer, pooled_13a),
            error(rouge_peer, rouge),
            error(vendi_peer, vendi),
        ),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
