"""What the metrics on a language model's probabilities cost, and whether memory is flat.

    python benchmarks/likelihood.py --model PATH --prompts 8

Responses of 40 words out of the sentences of `features/centre.txt`, 16 a prompt, no two alike.
Prints for each feature the seconds and the tokens a second, what 1,000 prompts would take at that
pace, and the peak of memory so far.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable

from tofu_eval.core.types import Group, Prompt
from tofu_eval.features.causal_embedding import CENTRE
from tofu_eval.features.likelihood import Likelihood, Redundancy, Surprise
from tofu_eval.features.likelihood_reader import CausalReader
from tofu_eval.run.store import FeatureCache

SAMPLES, WORDS = 16, 40


def make_groups(prompts: int) -> list[Group]:
    """Prompts with SAMPLES responses of about WORDS words each."""
    sentences = CENTRE.read_text("utf-8").splitlines()
    draw = random.Random(0)
    groups = []
    for number in range(prompts):
        texts = []
        for _ in range(SAMPLES):
            words: list[str] = []
            while len(words) < WORDS:
                words += draw.choice(sentences).split()
            texts.append(" ".join(words[:WORDS]))
        prompt = Prompt.of_text(str(number), f"Write something about {draw.choice(sentences)}")
        groups.append(Group(prompt, tuple(texts)))
    return groups


def main() -> None:
    """Print one row a feature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--prompts", type=int, default=8)
    chosen = parser.parse_args()
    groups = make_groups(chosen.prompts)
    reader = CausalReader(chosen.model, window=4096)
    reader.read([("Load", ("the model.",))])
    jobs: dict[str, Callable[[], object]] = {
        "likelihood": lambda: Likelihood(reader).compute(
            [(group.prompt, text) for group in groups for text in group.texts]
        ),
        "surprise, 3 orders": lambda: Surprise(reader, 3, 0).compute(groups, FeatureCache()),
        "redundancy, 2 partners": lambda: Redundancy(reader, 2, 0).compute(groups, FeatureCache()),
    }
    for name, job in jobs.items():
        start, busy = time.perf_counter(), time.process_time()
        job()
        seconds, cpu = time.perf_counter() - start, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:24} {seconds:7.1f} s ({cpu:.1f} s of CPU), 1,000 prompts: "
            f"{1000 * seconds / len(groups) / 3600:.2f} h ({1000 * cpu / len(groups) / 3600:.2f} h "
            f"of CPU), peak {peak:.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
