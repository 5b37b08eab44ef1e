"""Worlds for benchmarks/verdicts.py: two models that answer alike, and seem not to.

A study is a draw from a world. Responses are words of a small vocabulary, each with a vector of its
own; a text's vector is the mean of its words'. The models of a study draw from one distribution at
each prompt, so that no difference is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tofu_eval as te
from tofu_eval.analysis.compare import Comparison
from tofu_eval.core.types import Group, Prompt

Rng = np.random.Generator
Floats = NDArray[np.float64]
Text = NDArray[np.int64]
Lengths = Callable[[Rng, int], NDArray[np.int64]]
WORDS = 40
DIRECTIONS = np.random.default_rng(0).standard_normal((WORDS, 8))
LEXICAL = ("self_bleu", "distinct_1", "unique_rate")


@dataclass(frozen=True)
class Side:
    """The responses of one model: texts by prompt, and which are right, where that is known."""

    texts: list[list[Text]]
    right: list[list[float]] | None = None


@dataclass(frozen=True)
class Study:
    """Two models or more on the same prompts."""

    sides: dict[str, Side]
    metrics: tuple[str, ...] = ("mean_pairwise_cosine_distance", "vendi", "unique_rate")
    topics: list[int] | None = None
    truncate: int | None = None


def groups_of(study: Study) -> list[Group]:
    """The study as `te.score` takes it."""
    groups = []
    embedded = any("cosine" in m or "vendi" in m for m in study.metrics)
    for model, side in study.sides.items():
        for i, texts in enumerate(side.texts):
            topic = {} if study.topics is None else {"topic": str(study.topics[i])}
            features: dict[str, Any] = {}
            if embedded:
                features["embedding"] = np.array([DIRECTIONS[t].mean(axis=0) for t in texts])
            if side.right is not None:
                features["correct"] = side.right[i]
            groups.append(
                Group(
                    Prompt.of_text(f"p{i}", f"prompt {i}", metadata=topic),
                    tuple(" ".join(f"w{word}" for word in text) for text in texts),
                    model,
                    "task",
                    features,
                )
            )
    return groups


def compared(study: Study) -> Comparison:
    """From responses to the comparison, the way that a user goes."""
    result = te.score(groups_of(study), metrics=study.metrics, truncate=study.truncate)
    cluster = None if study.topics is None else "topic"
    return te.compare(result, next(iter(study.sides)), cluster=cluster)


def one_word(rng: Rng, count: int) -> NDArray[np.int64]:
    return np.ones(count, dtype=np.int64)


def about(words: int) -> Lengths:
    """Lengths that scatter about a mean."""
    return lambda rng, count: np.maximum(1, rng.poisson(words, count))


def answers_of(rng: Rng) -> Floats:
    """What a prompt's answers are like: a distribution over words, peaked or flat."""
    return draw_answers(rng, rng.normal(0.5, 0.7))


def draw_answers(rng: Rng, flatness: float) -> Floats:
    return rng.dirichlet(np.full(WORDS, 0.15 * np.exp(flatness)))


def draw(p: Floats, count: int, rng: Rng, lengths: Lengths = one_word) -> list[Text]:
    """Responses: some words each."""
    sizes = lengths(rng, count)
    words = rng.choice(WORDS, size=int(sizes.sum()), p=p)
    return np.split(words, np.cumsum(sizes)[:-1])


def two(
    rng: Rng,
    prompts: int,
    counts: Callable[[int], tuple[int, int]],
    lengths: tuple[Lengths, Lengths] = (one_word, one_word),
    **more: Any,
) -> Study:
    """Two models that answer each prompt alike."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    for i in range(prompts):
        p = answers_of(rng)
        for side, count, own in zip(sides, counts(i), lengths, strict=True):
            side.append(draw(p, count, rng, own))
    return Study({"base": Side(sides[0]), "sft": Side(sides[1])}, **more)


def equal_counts(rng: Rng) -> Study:
    return two(rng, 30, lambda i: (8, 8))


def constant_counts(rng: Rng) -> Study:
    return two(rng, 30, lambda i: (8, 16))


def same_texts(rng: Rng) -> Study:
    """A dozen texts a prompt, drawn 20 and 5 times."""
    return two(rng, 20, lambda i: (20, 5), metrics=("unique_rate", "distinct_1"))


def ragged_counts(rng: Rng) -> Study:
    return two(rng, 30, lambda i: (8, (14, 2)[i % 2]))


def missing_prompts(rng: Rng) -> Study:
    """Each model has a response or none on other prompts."""
    return two(rng, 45, lambda i: (1 if i % 5 == 0 else 8, 1 if i % 4 == 0 else 6))


def conditions(rng: Rng) -> Study:
    """The same answers; of one model all count as right, of the other four of ten."""
    study = two(rng, 30, lambda i: (10, 10))
    chosen = [rng.permutation([1.0] * 4 + [0.0] * 6).tolist() for _ in range(30)]
    return Study(
        {
            "base": Side(study.sides["base"].texts, [[1.0] * 10] * 30),
            "sft": Side(study.sides["sft"].texts, chosen),
        },
        ("vendi[correct]", "unique_rate[correct]"),
    )


def of_lengths(short: int, long: int, prompts: int, count: int, **more: Any) -> Callable[..., Any]:
    """One distribution of words, but texts of other lengths."""
    lengths = (about(short), about(long))
    metrics = ("self_bleu", "distinct_1", "mattr")
    more = {"metrics": metrics, **more}
    return lambda rng: two(rng, prompts, lambda i: (count, count), lengths, **more)


def five_values(rng: Rng) -> Study:
    """Scores that are one of five numbers, mostly the highest."""
    texts: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(30):
        p = np.full(WORDS, 0.7 / WORDS)
        p[0] += 0.3
        for side in texts:
            side.append(draw(p, 5, rng))
    return Study({"base": Side(texts[0]), "sft": Side(texts[1])}, ("unique_rate",))


def few_prompts(rng: Rng) -> Study:
    return two(rng, 8, lambda i: (8, 8))


def four_prompts(rng: Rng) -> Study:
    return two(rng, 4, lambda i: (8, 8))


def topics(rng: Rng) -> Study:
    """Twelve topics of four prompts; what a model does differently, it does on whole topics."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    belongs = []
    for topic in range(12):
        effect = rng.normal(0, 0.8)
        for _ in range(4):
            mean = rng.normal(0.5, 0.4)
            belongs.append(topic)
            for side, sign in zip(sides, (1, -1), strict=True):
                side.append(draw(draw_answers(rng, mean + sign * effect / 2), 8, rng))
    return Study({"base": Side(sides[0]), "sft": Side(sides[1])}, topics=belongs)


def many_metrics(rng: Rng) -> Study:
    names = [f"hill_number_q{q}_exact" for q in (0, 1, 2)]
    names += ["chao1_exact", "good_turing_coverage_exact", "collision_probability_exact"]
    names += ["entropy_miller_madow_exact", "distinct_at_5_exact", *LEXICAL]
    names += ["mean_pairwise_cosine_distance", "vendi", "vendi_q0.5", "vendi_q2.0"]
    names += ["effective_rank", "nearest_neighbour_distance", "centroid_distance"]
    return two(rng, 20, lambda i: (8, 12), metrics=tuple(names))


def many_models(rng: Rng) -> Study:
    texts: list[list[Any]] = [[] for _ in range(5)]
    for _ in range(25):
        p = answers_of(rng)
        for side in texts:
            side.append(draw(p, 6, rng))
    names = ["base", *(f"sft-{i}" for i in range(4))]
    return Study({n: Side(t) for n, t in zip(names, texts, strict=True)}, ("vendi", "unique_rate"))


def quality(rng: Rng) -> Study:
    """Two qualities beside diversity; other numbers of responses."""
    study = two(rng, 30, lambda i: (6, 10))
    hard = rng.beta(2, 2, 30)
    sides = {
        name: Side(
            side.texts,
            [
                (rng.random(len(texts)) < share).astype(float).tolist()
                for texts, share in zip(side.texts, hard, strict=True)
            ],
        )
        for name, side in study.sides.items()
    }
    return Study(sides, ("vendi", "accuracy", "pass_at_5"))


WORLDS: dict[str, Callable[[Rng], Study]] = {
    "equal counts": equal_counts,
    "8 against 16": constant_counts,
    "20 against 5": same_texts,
    "ragged counts": ragged_counts,
    "missing prompts": missing_prompts,
    "conditions": conditions,
    "lengths": of_lengths(10, 20, 20, 6),
    "lengths, alike": of_lengths(10, 10, 25, 8),
    "lengths, 1.2 to 1": of_lengths(10, 12, 25, 8),
    "lengths, truncated": of_lengths(10, 20, 25, 8, truncate=10),
    "five-valued scores": five_values,
    "few prompts": few_prompts,
    "four prompts": four_prompts,
    "topics, declared": topics,
    "many metrics": many_metrics,
    "many models": many_models,
    "quality": quality,
}


def narrower(
    rng: Rng,
    prompts: int,
    counts: Callable[[int], tuple[int, int]],
    by: float,
    lengths: tuple[Lengths, Lengths] = (one_word, one_word),
) -> Study:
    """The second model is truly narrower: its answers are less flat by so much."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    for i in range(prompts):
        mean = rng.normal(0.5, 0.5)
        both = zip(sides, (0.0, -by), counts(i), lengths, strict=True)
        for side, shift, count, own in both:
            side.append(draw(draw_answers(rng, mean + shift), count, rng, own))
    return Study({"base": Side(sides[0]), "sft": Side(sides[1])})
