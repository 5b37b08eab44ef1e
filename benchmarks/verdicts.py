"""How often a verdict is wrong, how often it is withheld, and what it sees.

    python benchmarks/verdicts.py --quick       # 60 studies a world, about a minute on two cores

Each world of worlds.py is a way in which two models that do not differ may seem to: other numbers
of responses, other lengths, few prompts, prompts of few topics, many metrics; and here, denser
grids of temperatures. A study draws responses from it and goes the whole way, `te.score` and
`te.compare`; the word of the verdict is then right ("not clearly different", "equivalent", or none
at all) or wrong. The two models of a prompt are draws from one distribution, so that no difference
is true.

The last line is JSON. false_verdict_pooled is the share of wrong words over all worlds,
false_verdict_lower99_max the largest lower 99% Clopper-Pearson bound of one, withheld_max the
largest share of studies without a verdict but in VOID, where nothing can be said. Coverage is that
of the intervals of the differences of the metric that leads. power_unequal is the share of true
narrowings that is called with 8 against 16 responses and with ragged numbers, over that with the
smaller number on both sides (power_equal: that share, the smaller of the two); power_kept that of 9
correlated metrics, over what sign flips with Holm's adjustment call. power_lengths is the share of
true narrowings that is called where lengths scatter and the narrower model's are a tenth shorter,
over that where both are equally long. common_n_cost is the time of scoring 1,000 prompts at 16
against 8 responses over that at 8 against 8 (common_n_cost_16: at 16 against 16), by the default
metrics, the vectors being given: what a model costs is not in it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes, a thread each

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from worlds import WORLDS, Rng, Side, Study, about, compared, narrower

import tofu_eval as te
from tofu_eval.analysis import significantly_better
from tofu_eval.analysis.compare import compare as compare_scores
from tofu_eval.analysis.frontier import frontier
from tofu_eval.analysis.ranks import rank_models
from tofu_eval.analysis.verdict import verdicts_of
from tofu_eval.core.tables import SCORE_SCHEMA, to_table
from tofu_eval.core.types import Group, Prompt, Score

Floats = NDArray[np.float64]
CLAIMS = {"less", "more", "disagree"}
VOID = ("lengths", "four prompts")
"""Worlds where nothing can be said; where a verdict is void, so is its interval, which is of
another quantity."""
SHARE = 20
"""Studies of a world that one process does at a time."""


@dataclass
class Seen:
    """What the studies of a world came to."""

    wrong: int = 0
    withheld: int = 0
    covered: int = 0
    intervals: int = 0

    def __add__(self, other: Seen) -> Seen:
        return Seen(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def run_world(name: str, numbers: range) -> Seen:
    seen = Seen()
    for number in numbers:
        rng = np.random.default_rng([number, *name.encode()])
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


def run_grids(numbers: range) -> Seen:
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
    for number in numbers:
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


SHIFT, SHIFT_OF_TEXTS = 0.68, 0.52
"""How much less flat the narrower model's answers are. Chosen by calculation: at these shifts the
standardised difference of `vendi` over 8,000 prompts is 0.45 with responses of one word and with
those of about ten, which 40 prompts see in 80% (`power`)."""

COUNTS: dict[str, Callable[[int], tuple[int, int]]] = {
    "constant": lambda i: (16, 8),
    "ragged": lambda i: ((8, 4)[i % 2], (6, 12)[i % 3 > 0]),
}


def is_called(study: Study) -> bool:
    (verdict,) = verdicts_of(compared(study))
    return verdict.diversity == "less"


def power_unequal(numbers: range) -> Counter[str]:
    """Narrowings called at 8 against 16 and at ragged numbers, and at the smaller number."""
    calls: Counter[str] = Counter()
    for number in numbers:
        for name, counts in COUNTS.items():
            study = narrower(np.random.default_rng([1, number]), 40, counts, SHIFT)
            small = {
                model: Side([t[: min(counts(i))] for i, t in enumerate(side.texts)])
                for model, side in study.sides.items()
            }
            calls[f"{name} unequal"] += is_called(study)
            calls[f"{name} equal"] += is_called(Study(small))
    return calls


def power_lengths(numbers: range) -> Counter[str]:
    """Narrowings called where both models' texts are equally long, and where one's are shorter."""
    calls: Counter[str] = Counter()
    for number in numbers:
        for name, words in (("shorter", 9), ("alike", 10)):
            lengths = (about(10), about(words))
            rng = np.random.default_rng([6, number])
            calls[name] += is_called(narrower(rng, 40, lambda i: (8, 8), SHIFT_OF_TEXTS, lengths))
    return calls


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


def power_kept(numbers: range) -> Counter[str]:
    """Nine correlated metrics, 60 prompts, each truly lower by half a standard deviation."""
    calls: Counter[str] = Counter()
    names = [f"m{i}" for i in range(9)]
    for number in numbers:
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
        calls["max-T"] += sum(row.cells[1].turn == -1 for row in made.rows)
        calls["Holm"] += int((holm([plain_p_value(c, rng) for c in away.T]) < 0.05).sum())
    return calls


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
            features = {
                "embedding": rng.normal(size=(count, 64)).astype(np.float32),
                "prompt_embedding": rng.normal(size=(1, 64)).astype(np.float32),
            }
            groups.append(
                Group(Prompt.of_text(f"p{i}", f"p{i}"), tuple(texts), model, "t", features)
            )
        return groups

    te.score([*some("base", 4)[:3], *some("tuned", 3)[:3]])  # compiled, and imported
    seconds = {}
    for pair in ((8, 8), (16, 16), (16, 8)):
        groups = [*some("base", pair[0]), *some("tuned", pair[1])]
        taken = []
        for _ in range(3):
            start = time.process_time()
            te.score(groups)
            taken.append(time.process_time() - start)
        seconds[pair] = min(taken)
    print(f"seconds of scoring {prompts} prompts: {seconds}")
    return {
        "common_n_cost": seconds[16, 8] / seconds[8, 8],
        "common_n_cost_16": seconds[16, 8] / seconds[16, 16],
    }


Jobs = Mapping[str, list[Future[Any]]]


def whole(jobs: Jobs, name: str) -> Any:
    """What the shares of one job come to together."""
    first, *others = (job.result() for job in jobs[name])
    return sum(others, first)


def submit(pool: ProcessPoolExecutor, studies: int, *, quick: bool) -> Jobs:
    """All that is measured but the cost, in shares; long shares come first."""

    def shares(work: Callable[..., Any], of: int, *more: str) -> list[Future[Any]]:
        steps = range(0, of, SHARE)
        return [pool.submit(work, *more, range(n, min(n + SHARE, of))) for n in steps]

    powers = {"unequal": power_unequal, "of lengths": power_lengths, "kept": power_kept}
    jobs = {name: shares(work, studies // 2) for name, work in powers.items()}
    jobs["ranks"] = [pool.submit(of_ranks, (40, 200)[not quick])]
    jobs["agreement"] = [pool.submit(agreement, (60, 400)[not quick])]
    jobs |= {name: shares(run_world, studies, name) for name in WORLDS}
    return jobs | {"grids": shares(run_grids, studies)}


def of_worlds(jobs: Jobs, studies: int) -> dict[str, float]:
    """Wrong and withheld verdicts, and coverage."""
    print(f"{'world':22}{'wrong':>8}{'withheld':>10}{'covered':>9}")
    seen: dict[str, Seen] = {}
    for name in (*WORLDS, "grids"):
        one = seen[name] = whole(jobs, name)
        covered = f"{one.covered / one.intervals:9.3f}" if one.intervals else ""
        print(
            f"{name:22}{one.wrong / studies:8.3f}{one.withheld / studies:10.3f}{covered}",
            flush=True,
        )
    held = [one for name, one in seen.items() if one.intervals and name not in VOID]
    return {
        "false_verdict_pooled": sum(s.wrong for s in seen.values()) / studies / len(seen),
        "false_verdict_lower99_max": max(lower_bound(s.wrong, studies) for s in seen.values()),
        "withheld_max": max(s.withheld / studies for n, s in seen.items() if n not in VOID),
        "coverage_pooled": sum(s.covered for s in held) / sum(s.intervals for s in held),
        "coverage_upper99_min": min(upper_bound(s.covered, s.intervals) for s in held),
    }


def of_power(jobs: Jobs, studies: int) -> dict[str, float]:
    """Shares of true narrowings that are called, over others."""
    counted, lengths, kept = (whole(jobs, name) for name in ("unequal", "of lengths", "kept"))
    print(f"true narrowings called, of {studies}: {dict(counted)}, {dict(lengths)}")
    print(f"differences of nine metrics called, of {9 * studies}: {dict(kept)}")
    ratios = {n: counted[f"{n} unequal"] / max(1, counted[f"{n} equal"]) for n in COUNTS}
    return {
        "power_equal": min(counted[f"{n} equal"] for n in COUNTS) / studies,
        "power_unequal": min(ratios.values()),
        **{f"power_unequal_{name}": ratio for name, ratio in ratios.items()},
        "power_lengths": lengths["shorter"] / max(1, lengths["alike"]),
        "power_kept": kept["max-T"] / max(1, kept["Holm"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="60 studies a world instead of 400")
    quick = parser.parse_args().quick
    studies, begun = (60, 400)[not quick], time.perf_counter()
    # Forking a process that runs threads can hang.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = submit(pool, studies, quick=quick)
        figures = {
            **of_worlds(jobs, studies),
            **of_power(jobs, studies // 2),
            **whole(jobs, "ranks"),
            "compare_and_board_agree": whole(jobs, "agreement"),
        }
    figures |= {
        **common_n_cost((150, 1000)[not quick]),
        "worlds": len(WORLDS) + 1,
        "studies": studies,
        "seconds": time.perf_counter() - begun,
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
