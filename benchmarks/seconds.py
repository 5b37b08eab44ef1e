"""CPU seconds for 1,000 responses of each metric, and of what it needs from a model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from costs import SAMPLES, make_texts, sentences

CORPUS = 200
"""Prompts of a corpus."""


def make_groups(prompts: int, samples: int = SAMPLES, *, code: bool = False) -> list[Any]:
    from tofu_eval.core.types import Group, Prompt

    draw, known = random.Random(0), sentences()
    return [
        Group(
            Prompt.of_text(str(number), f"Write something about {draw.choice(known)}"),
            tuple(make_texts(samples, draw, code=code)),
        )
        for number in range(prompts)
    ]


def given_features(n: int, random_numbers: np.random.Generator) -> dict[str, Any]:
    """What a model would have made of n responses, at random."""

    def unit(rows: int) -> np.ndarray:
        made = random_numbers.normal(size=(rows, 384)).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    nats = -random_numbers.uniform(50, 200, size=(n, 8))
    surprise = np.full((n, 7), 200.0)
    for order in range(3):
        surprise[:, 1 + 2 * order] = random_numbers.permutation(n)
        surprise[:, 2 + 2 * order] = nats[:, order]
    tags = ["NN", "VB", "DT", "JJ", "IN", "."]
    return {
        "embedding": unit(n),
        "prompt_embedding": unit(1),
        "equivalence": random_numbers.integers(0, 8, n),
        "pos": [list(random_numbers.choice(tags, 44)) for _ in range(n)],
        "likelihood": np.stack([nats[:, 0], np.full(n, 50.0), np.full(n, 200.0)], axis=1),
        "surprise": surprise,
        "redundancy": nats[:, 4:6],
        "training_likelihood": nats[:, 6:8],
        "training_ngrams": np.stack([np.full(n, 3.0), np.full(n, 36.0)], axis=1),
        "token_logprobs": [[-1.0] * 50] * n,
        "logprob": [-100.0] * n,
        "nli": random_numbers.uniform(-1, 1, (n, 1)),
        "nli_sentences": np.stack([random_numbers.uniform(-2, 2, n), np.full(n, 2.0)], axis=1),
        "correct": random_numbers.integers(0, 2, n).astype(float),
        "answer": random_numbers.integers(0, 4, n),
        "reward": random_numbers.normal(size=(n, 1)),
        "reward_level": random_numbers.integers(1, 10, n),
    }


def time_metrics(quick: bool) -> dict[str, float]:
    """Of each metric whose needs can be given, seconds for 1,000 responses."""
    from dataclasses import replace

    from tofu_eval.core.errors import MetricInputError
    from tofu_eval.metrics import METRICS
    from tofu_eval.pipeline.inputs import Inputs, pool_groups

    prompts = 16 if quick else CORPUS
    numbers = np.random.default_rng(0)
    groups = [
        replace(group, features=given_features(len(group.texts), numbers))
        for group in make_groups(prompts)
    ]
    metrics = [
        entry.item
        for entry in METRICS.entries()
        if entry.item is not None
        and entry.item.function.__module__.startswith("tofu_eval.metrics.")
    ]
    found: dict[str, float] = {}
    texts = sum(len(group.texts) for group in groups)
    for metric in metrics:
        some = [pool_groups(groups)] if metric.level == "corpus" else groups
        try:
            metric(*Inputs(some[0]).arguments(metric))  # compiled, and imported
            start = time.process_time()
            for group in some:
                metric(*Inputs(group).arguments(metric))
        except MetricInputError:  # of people, judges, targets: nothing that takes time here
            continue
        found[metric.name] = round((time.process_time() - start) / texts * 1000, 5)
    return found


def time_needs(language_model: str | None, quick: bool) -> dict[str, dict[str, float]]:
    """Seconds for 1,000 responses of what a model makes."""
    from tofu_eval.features.equivalence import Equivalence
    from tofu_eval.features.pos import Tagger
    from tofu_eval.features.sentence_embedder import SentenceEmbedder
    from tofu_eval.run.feature_cache import FeatureCache

    found: dict[str, dict[str, float]] = {}

    def add(name: str, groups: list[Any], work: Callable[[list[Any]], Any]) -> None:
        work(groups[:1])  # loaded, and warm
        rest = groups[1:]
        start = time.process_time()
        work(rest)
        count = sum(len(group.texts) for group in rest)
        seconds = (time.process_time() - start) / count * 1000
        found[name] = {"seconds": round(seconds, 3), "responses": count}

    def pairs_of(groups: list[Any]) -> list[Any]:
        return [(group.prompt, text) for group in groups for text in group.texts]

    encoder = SentenceEmbedder(device="cpu")
    add("embedding", make_groups(3 if quick else 33), lambda some: encoder.compute(pairs_of(some)))
    tagger = Tagger()
    add("pos", make_groups(5 if quick else 65), tagger.compute)
    add(
        "equivalence by program",
        make_groups(9 if quick else 65, code=True),
        lambda some: Equivalence("program").compute(some, FeatureCache()),
    )
    if language_model:
        found |= time_language_model(language_model, add, pairs_of, found, 2 if quick else 3)
    return found


def time_language_model(
    name: str, add: Callable[..., None], pairs_of: Callable[..., Any], found: Any, prompts: int
) -> dict[str, dict[str, float]]:
    """What one language model makes, loaded once; the first prompt is a short one to warm it."""
    from tofu_eval.features.causal_embedding import CausalEmbedder
    from tofu_eval.features.likelihood import Likelihood, Redundancy, Surprise
    from tofu_eval.features.likelihood_reader import CausalReader
    from tofu_eval.run.feature_cache import FeatureCache

    reader = CausalReader(name, window=4096, device="cpu")
    likelihood = Likelihood(reader)
    groups = [*make_groups(1, 2), *make_groups(prompts - 1)]
    add("likelihood", groups, lambda some: likelihood.compute(pairs_of(some)))
    surprise, redundancy = Surprise(reader, 3, 0), Redundancy(reader, 2, 0)
    add("surprise", groups, lambda some: surprise.compute(some, FeatureCache()))
    add("redundancy", groups, lambda some: redundancy.compute(some, FeatureCache()))
    embedder = CausalEmbedder(name, device="cpu")
    add("embedding by causal-lm", groups, lambda some: embedder.compute(pairs_of(some)))
    return dict(found)


def measure_seconds(language_model: str | None, *, quick: bool) -> dict[str, Any]:
    """Both parts."""
    return {"metrics": time_metrics(quick), "needs": time_needs(language_model, quick)}
