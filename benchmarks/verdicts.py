"""How often a verdict is wrong, how often it is withheld, and what it sees.

    python benchmarks/verdicts.py --quick       # 60 studies a world, under a minute

Each world is a way in which two models that do not differ may seem to: other numbers of responses,
other lengths, few prompts, prompts of few topics, many metrics, denser grids of temperatures. A
study draws responses from it and goes the whole way, `te.score` and `te.compare`; the word of the
verdict is then right ("not clearly different", "equivalent", or none at all) or wrong. The two
models of a prompt are draws from one distribution, so that no difference is true.

The last line is JSON. false_verdict_pooled is the share of wrong words over all worlds,
false_verdict_lower99_max the largest lower 99% Clopper-Pearson bound of one, withheld_max the
largest share of studies without a verdict but in VOID, where nothing can be said. Coverage is that
of the intervals of the differences of the metric that leads. power_unequal is the share of true
narrowings that is called with 8 against 16 responses and with ragged numbers, over that with the
smaller number on both sides; power_kept that of 9 correlated metrics, over what sign flips with
Holm's adjustment call. common_n_cost is the time of scoring 1,000 prompts at 16 against 8
responses over that at 8 against 8 (common_n_cost_16: at 16 against 16).
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # the statistics.py beside this file is not the standard one

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

import tofu_eval as te
from tofu_eval.analysis import significantly_better
from tofu_eval.analysis.compare import compare as compare_scores
from tofu_eval.analysis.comparison import Comparison
from tofu_eval.analysis.frontier import frontier
from tofu_eval.analysis.ranks import rank_models
from tofu_eval.analysis.verdict import verdicts_of
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Group, Prompt, Score

Rng = np.random.Generator
Floats = NDArray[np.float64]
WORDS = 40
DIRECTIONS = np.random.default_rng(0).standard_normal((WORDS, 8))
CLAIMS = {"less", "more", "disagree"}
VOID = ("lengths", "four prompts")
"""Worlds where nothing can be said."""


@dataclass(frozen=True)
class Side:
    """The responses of one model: texts by prompt, and which are right, where that is known."""

    texts: list[list[list[int]]]
    right: list[list[float]] | None = None


@dataclass(frozen=True)
class Study:
    """Two models or more on the same prompts."""

    sides: dict[str, Side]
    metrics: tuple[str, ...] = ("mean_pairwise_cosine_distance", "vendi", "unique_rate")
    topics: list[int] | None = None
    truncate: int | None = None


def words_of(prompt: int, rng: Rng) -> Floats:
    """What a prompt's answers are like: a distribution over words, peaked or flat."""
    sharp = np.exp(rng.normal(0.5, 0.7))
    return rng.dirichlet(np.full(WORDS, 0.15 * sharp))


def draw(p: Floats, count: int, rng: Rng, length: Callable[[], int] = lambda: 1) -> list[list[int]]:
    """Responses: some words each."""
    return [rng.choice(WORDS, size=max(1, length()), p=p).tolist() for _ in range(count)]


def embed(text: list[int]) -> Floats:
    return DIRECTIONS[text].mean(axis=0)


def groups_of(study: Study) -> list[Group]:
    """The study as `te.score` takes it; each text has an embedding of its own."""
    groups = []
    for model, side in study.sides.items():
        for i, texts in enumerate(side.texts):
            topic = {} if study.topics is None else {"topic": str(study.topics[i])}
            features: dict[str, Any] = {}
            if any("cosine" in name or "vendi" in name for name in study.metrics):
                features["embedding"] = np.array([embed(text) for text in texts])
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


def two(
    rng: Rng,
    prompts: int,
    counts: Callable[[int], tuple[int, int]],
    lengths: tuple[Callable[[], int], Callable[[], int]] | None = None,
    **more: Any,
) -> Study:
    """Two models that answer each prompt alike."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    for i in range(prompts):
        p = words_of(i, rng)
        for place, count in enumerate(counts(i)):
            length = lengths[place] if lengths else lambda: 1
            sides[place].append(draw(p, count, rng, length))
    return Study({"base": Side(sides[0]), "sft": Side(sides[1])}, **more)


LEXICAL = ("self_bleu", "distinct_1", "unique_rate")


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


def other_lengths(rng: Rng) -> Study:
    lengths = (lambda: int(rng.poisson(10)), lambda: int(rng.poisson(20)))
    return two(rng, 20, lambda i: (6, 6), lengths, metrics=("self_bleu", "distinct_1", "mattr"))


def truncated(rng: Rng) -> Study:
    lengths = (lambda: int(rng.poisson(10)), lambda: int(rng.poisson(20)))
    metrics = ("self_bleu", "distinct_1", "mattr")
    return two(rng, 25, lambda i: (8, 8), lengths, metrics=metrics, truncate=10)


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
                p = rng.dirichlet(np.full(WORDS, 0.15 * np.exp(mean + sign * effect / 2)))
                side.append(draw(p, 8, rng))
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
    for i in range(25):
        p = words_of(i, rng)
        for side in texts:
            side.append(draw(p, 6, rng))
    names = ["base", *(f"sft-{i}" for i in range(4))]
    return Study({n: Side(t) for n, t in zip(names, texts, strict=True)}, ("vendi", "unique_rate"))


def quality(rng: Rng) -> Study:
    """Two qualities beside diversity; other numbers of responses."""
    study = two(rng, 30, lambda i: (6, 10))
    hard = rng.beta(2, 2, 30)
    sides = {
        name: Side(side.texts, [(rng.random(len(t)) < h).astype(float).tolist()
                                for t, h in zip(side.texts, hard, strict=True)])
        for name, side in study.sides.items()
    }  # fmt: skip
    return Study(sides, ("vendi", "accuracy", "pass_at_5"))


WORLDS: dict[str, Callable[[Rng], Study]] = {
    "equal counts": equal_counts,
    "8 against 16": constant_counts,
    "20 against 5": same_texts,
    "ragged counts": ragged_counts,
    "missing prompts": missing_prompts,
    "conditions": conditions,
    "lengths": other_lengths,
    "lengths, truncated": truncated,
    "five-valued scores": five_values,
    "few prompts": few_prompts,
    "four prompts": four_prompts,
    "topics, declared": topics,
    "many metrics": many_metrics,
    "many models": many_models,
    "quality": quality,
}


@dataclass
class Seen:
    """What the studies of a world came to."""

    wrong: int = 0
    withheld: int = 0
    covered: int = 0
    intervals: int = 0


def run_world(name: str, studies: int) -> Seen:
    seen = Seen()
    for number in range(studies):
        rng = np.random.default_rng([*name.encode(), number])
        comparison = compared(WORLDS[name](rng))
        verdicts = verdicts_of(comparison)
        words = [word for v in verdicts for word in (v.diversity, v.quality)]
        seen.wrong += any(word in CLAIMS for word in words)
        seen.withheld += all(v.diversity in ("withheld", "missing") for v in verdicts)
        difference = comparison.rows[0].cells[1].difference
        if difference and difference.low is not None and difference.high is not None:
            seen.intervals += 1
            seen.covered += difference.low <= 1e-12 and difference.high >= -1e-12
    return seen


def run_grids(studies: int) -> Seen:
    """One curve of quality and diversity, sampled at two temperatures and at three."""
    seen = Seen()
    facts = {"reward": ("higher", ["-inf", "inf"]), "vendi": ("higher", ["1", "n"])}
    grids = {"sft": (0.7, 1.3), "tofu": (0.7, 1.0, 1.3)}
    manifest: dict[str, Any] = {
        "models": {
            f"{s}-{t}": {"series": s, "temperature": t, "engine": "hf"}
            for s, grid in grids.items()
            for t in grid
        },
        "tasks": {"task": {"sampling": {}}},
        "metrics": {n: {"direction": d, "range": r} for n, (d, r) in facts.items()},
    }
    for number in range(studies):
        rng = np.random.default_rng([7, number])
        hard = rng.normal(0, [[0.15], [1.0]], (2, 30))
        rows = []
        for name, model in manifest["models"].items():
            t = model["temperature"]
            means = np.array([[1 - 0.3 * t**2], [6 * np.sqrt(t)]])
            values = means + hard + rng.normal(0, [[0.1], [0.5]], (2, 30))
            for metric, column in zip(facts, values, strict=True):
                rows += [
                    Score(name, "task", f"p{i}", metric, float(v), None, 8)
                    for i, v in enumerate(column)
                ]
        found = frontier(
            to_table(rows, SCORE_SCHEMA), manifest, task="task", quality="reward",
            diversity="vendi", seed=number, resamples=499,
        )  # fmt: skip
        (only,) = found.contests
        seen.wrong += only.verdict in ("more", "less")
        seen.withheld += only.verdict == "missing" or bool(only.wanted and only.p_adjusted is None)
    return seen


def lower_bound(wrong: int, studies: int) -> float:
    """The lower 99% Clopper-Pearson bound of a rate."""
    return float(beta.ppf(0.01, wrong, studies - wrong + 1)) if wrong else 0.0


def upper_bound(count: int, studies: int) -> float:
    return float(beta.ppf(0.99, count + 1, studies - count)) if count < studies else 1.0


def narrower(rng: Rng, prompts: int, counts: Callable[[int], tuple[int, int]]) -> Study:
    """The second model is truly narrower."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    for i in range(prompts):
        mean = rng.normal(0.5, 0.5)
        for side, shift, count in zip(sides, (0.0, -0.7), counts(i), strict=True):
            p = rng.dirichlet(np.full(WORDS, 0.15 * np.exp(mean + shift)))
            side.append(draw(p, count, rng))
    return Study({"base": Side(sides[0]), "sft": Side(sides[1])})


def power_unequal(studies: int) -> tuple[float, float, float]:
    """Called at 8 against 16 and at ragged numbers; over the same at the smaller number."""
    calls: Counter[str] = Counter()
    shapes = {
        "constant": lambda i: (16, 8),
        "ragged": lambda i: ((8, 4)[i % 2], (6, 12)[i % 3 > 0]),
    }
    for number in range(studies):
        for name, counts in shapes.items():
            study = narrower(np.random.default_rng([1, number]), 40, counts)
            small = {
                model: Side([t[: min(counts(i))] for i, t in enumerate(side.texts)])
                for model, side in study.sides.items()
            }
            for kind, one in (("unequal", study), ("equal", Study(small))):
                (verdict,) = verdicts_of(compared(one))
                calls[f"{name} {kind}"] += verdict.diversity == "less"
    ratios = [calls[f"{n} unequal"] / max(1, calls[f"{n} equal"]) for n in shapes]
    print(f"power at unequal counts: {dict(calls)} of {studies}")
    return min(ratios), ratios[0], ratios[1]


def holm(p_values: list[float]) -> Floats:
    p = np.array(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def plain_p_value(values: Floats, rng: Rng, flips: int = 9999) -> float:
    """The sign-flip test as a textbook has it."""
    signs = 2.0 * rng.integers(0, 2, (flips, len(values))) - 1
    return float((np.sum(np.abs(signs @ values) >= abs(values.sum())) + 1) / (flips + 1))


def power_kept(studies: int) -> float:
    """Nine correlated metrics, 60 prompts, each truly lower by half a standard deviation."""
    ours, theirs = 0, 0
    names = [f"m{i}" for i in range(9)]
    for number in range(studies):
        rng = np.random.default_rng([2, number])
        away = 0.8 * rng.normal(size=(60, 1)) + 0.6 * rng.normal(size=(60, 9)) - 0.5
        rows = [
            Score(model, "task", f"p{i}", name, float(value), None, 8)
            for model, table in (("base", np.zeros((60, 9))), ("sft", away))
            for j, name in enumerate(names)
            for i, value in enumerate(table[:, j])
        ]
        made = compare_scores(
            to_table(rows, SCORE_SCHEMA), "base", metrics=dict.fromkeys(names, "higher")
        )
        ours += sum(row.cells[1].turn == -1 for row in made.rows)
        theirs += int((holm([plain_p_value(c, rng, 4999) for c in away.T]) < 0.05).sum())
    print(f"power of nine metrics: {ours} by max-T, {theirs} by Holm, of {9 * studies}")
    return ours / max(1, theirs)


def of_ranks(studies: int) -> dict[str, float]:
    """Boards of 6 models without a difference, and with some."""
    false, outranked = 0, 0
    for number in range(studies):
        rng = np.random.default_rng([3, number])
        level = np.zeros(6) if number % 2 else rng.normal(0, 0.3, 6)
        table = level[:, None] + rng.normal(size=(1, 40)) + rng.normal(size=(6, 40))
        columns = {f"m{i}": dict(enumerate(map(float, row))) for i, row in enumerate(table)}
        task = f"task {number}"
        better, _ = significantly_better(list(columns.values()), higher=True, task=task)
        ranks = [rank.rank for rank in rank_models(columns, higher=True, task=task).values()]
        outranked += any(ranks[i] >= ranks[j] for i, j in zip(*np.nonzero(better), strict=True))
        false += bool((better & (level[:, None] <= level[None, :])).any())
    return {
        "ranks_outranked": float(outranked),
        "ranks_false": false / studies,
        "ranks_false_lower99": lower_bound(false, studies),
    }


def agreement(studies: int) -> float:
    """Five-valued scores of 30 prompts: how often the board and compare decide alike."""
    same = 0
    for number in range(studies):
        rng = np.random.default_rng([4, number])
        values = rng.choice([0.2, 0.4, 0.6, 0.8, 1.0], p=[0.05, 0.05, 0.1, 0.2, 0.6], size=(2, 30))
        rows = [
            Score(model, "task", f"p{i}", "unique_rate", float(v), None, 8)
            for model, row in zip(("base", "sft"), values, strict=True)
            for i, v in enumerate(row)
        ]
        made = compare_scores(
            to_table(rows, SCORE_SCHEMA), "base", metrics={"unique_rate": "higher"}
        )
        columns = [{f"p{i}": float(v) for i, v in enumerate(row)} for row in values]
        better, _ = significantly_better(columns, higher=True, task="task")
        same += bool(better.any()) == bool(made.rows[0].cells[1].turn)
    return same / studies


def common_n_cost(prompts: int) -> dict[str, float]:
    """Seconds of scoring with all default metrics, at equal and at unequal numbers."""
    vocabulary = [f"word{i}" for i in range(400)]

    def some(model: str, count: int) -> list[Group]:
        groups = []
        for i in range(prompts):
            rng = np.random.default_rng([i, count, len(model)])
            texts = [" ".join(vocabulary[w] for w in rng.zipf(1.3, 20) % 400) for _ in range(count)]
            features = {"embedding": rng.normal(size=(count, 64)).astype(np.float32)}
            groups.append(
                Group(Prompt.of_text(f"p{i}", f"p{i}"), tuple(texts), model, "t", features)
            )
        return groups

    te.score([*some("base", 4)[:3], *some("tuned", 3)[:3]])  # compiled, and imported
    seconds = {}
    for pair in ((8, 8), (16, 16), (16, 8)):
        groups = [*some("base", pair[0]), *some("tuned", pair[1])]
        start = time.process_time()
        te.score(groups)
        seconds[pair] = time.process_time() - start
    print(f"seconds of scoring {prompts} prompts: {seconds}")
    return {
        "common_n_cost": seconds[16, 8] / seconds[8, 8],
        "common_n_cost_16": seconds[16, 8] / seconds[16, 16],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="60 studies a world instead of 400")
    quick = parser.parse_args().quick
    studies, begun = (60, 400)[not quick], time.perf_counter()
    print(f"{'world':22}{'wrong':>8}{'withheld':>10}{'covered':>9}{'seconds':>9}")
    seen: dict[str, Seen] = {}
    for name in (*WORLDS, "grids"):
        start = time.perf_counter()
        seen[name] = run_grids(studies) if name == "grids" else run_world(name, studies)
        one = seen[name]
        covered = f"{one.covered / one.intervals:9.3f}" if one.intervals else f"{'':9}"
        print(
            f"{name:22}{one.wrong / studies:8.3f}{one.withheld / studies:10.3f}{covered}"
            f"{time.perf_counter() - start:9.1f}",
            flush=True,
        )
    # Where a verdict is void, so is its interval: it is of another quantity.
    held = {name: one for name, one in seen.items() if one.intervals and name not in VOID}
    low, constant, ragged = power_unequal(studies // 2)
    figures = {
        "false_verdict_pooled": sum(s.wrong for s in seen.values()) / studies / len(seen),
        "false_verdict_lower99_max": max(lower_bound(s.wrong, studies) for s in seen.values()),
        "withheld_max": max(s.withheld / studies for n, s in seen.items() if n not in VOID),
        "coverage_pooled": sum(s.covered for s in held.values())
        / sum(s.intervals for s in held.values()),
        "coverage_upper99_min": min(upper_bound(s.covered, s.intervals) for s in held.values()),
        "power_unequal": low,
        "power_unequal_constant": constant,
        "power_unequal_ragged": ragged,
        "power_kept": power_kept(studies // 2),
        **of_ranks((40, 200)[not quick]),
        "compare_and_board_agree": agreement((60, 400)[not quick]),
        **common_n_cost((150, 1000)[not quick]),
        "worlds": len(seen),
        "studies": studies,
        "seconds": time.perf_counter() - begun,
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
