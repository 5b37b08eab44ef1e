"""What the intervals, tests and power of tofu_eval.analysis hold, and what they cost.

    python benchmarks/intervals.py --quick        # 400 studies a cell for what draws resamples

Truth is known: each study draws prompts' scores from a distribution whose mean is, and asks whether
the 95% interval holds it. A cell is a distribution and a number of prompts; coverage_min and
coverage_max are over the cells of SHAPES, 20,000 studies each: the default interval draws nothing,
so that they cost a second. CORNERS are outside of what it holds, and are shown beside. The tests,
power, seeds and scipy's percentile and BCa intervals have `studies` a cell. Chance alone moves a
rate of 5% over 400 studies by 1.1 points, so --quick scatters: false_positive_rate is the mean of
its cells.

The last line is JSON. bootstrap_vs_one_pass is the time of `mean_intervals` (bootstrap-t, expanded
to its second term) on the table of 1,000 prompts x 3 models x 20 metrics over the time of
`table.mean(axis=1)` on the same array, whose layout is the fastest for numpy. What it replaces,
10,000 resamples of that table, is timed too (resampled_vs_one_pass: one multiplication of all
resamples' counts with the table), and agreement says how far the ends of the two are apart, in
widths of the interval, beside how far two sets of 10,000 resamples are (agreement_of_resamples).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from tofu_eval.analysis import Column, crossed_mean, mean_intervals, power, sign_flip_tests

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

SIZES = (30, 60, 100, 300)
METRICS, MODELS, PROMPTS, RESAMPLES = 20, 3, 1000, 10_000


def levels(values: list[float], shares: list[float]) -> Draw:
    """Scores that can only be these values: heavily tied."""
    edges, known = np.cumsum(shares)[:-1], np.array(values)
    return lambda rng, size: known[np.searchsorted(edges, rng.random(size), side="right")]


def zeros_and_more(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    return np.where(rng.random(size) < 0.5, 0.0, rng.standard_exponential(size))


FIVE = ([0.2, 0.4, 0.6, 0.8, 1.0], [0.05, 0.05, 0.1, 0.2, 0.6])
TEN = ([i / 10 for i in range(1, 11)], [0.01, 0.01, 0.02, 0.02, 0.03, 0.04, 0.07, 0.1, 0.2, 0.5])
THREE = ([0.0, 0.5, 1.0], [0.1, 0.2, 0.7])


def stream(name: str, *numbers: int) -> np.random.Generator:
    """One of its own for each cell."""
    return np.random.default_rng([*name.encode(), *numbers])


def mean_of(values: list[float], shares: list[float]) -> float:
    return float(np.dot(values, shares))


SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "exponential (skewness 2)": (lambda rng, size: rng.standard_exponential(size), 1.0),
    "log-normal (skewness 1.75)": (
        lambda rng, size: np.exp(0.5 * rng.standard_normal(size)),
        float(np.exp(0.125)),
    ),
    "half zeros, half exponential": (zeros_and_more, 0.5),
    "five values, 60% the highest": (levels(*FIVE), mean_of(*FIVE)),
    "ten values, half the highest": (levels(*TEN), mean_of(*TEN)),
}
CORNERS: dict[str, tuple[Draw, float]] = {
    "log-normal (skewness 6.2)": (
        lambda rng, size: np.exp(rng.standard_normal(size)),
        float(np.exp(0.5)),
    ),
    "three values, 70% the highest": (levels(*THREE), mean_of(*THREE)),
    "two values, 1 in 5": (levels([0.0, 1.0], [0.8, 0.2]), 0.2),
}


def coverage(low: Floats, high: Floats, truth: float) -> float:
    """How often the intervals hold the truth; an end that hits it within rounding does."""
    close = 1e-9 * (abs(truth) + 1)
    return float(np.mean((low <= truth + close) & (truth <= high + close)) if len(low) else np.nan)


def of_means(
    shapes: dict[str, tuple[Draw, float]], sizes: tuple[int, ...], studies: int, slow: int
) -> list[float]:
    """Coverage of the default interval, a cell each, printed beside the others'."""
    found = []
    for name, (draw, truth) in shapes.items():
        for n in sizes:
            rng = stream(name, n)
            ours = []
            for start in range(0, studies, 2000):
                table = draw(rng, (min(2000, studies - start), n))
                made = mean_intervals(table)
                ours.append((made.low, made.high))
            found.append(coverage(*np.concatenate(ours, axis=1), truth))
            others = [scipys(table[:slow], kind, truth) for kind in ("percentile", "BCa")]
            t = scipy.stats.t.ppf(0.975, n - 1) * table.std(axis=1, ddof=1) / np.sqrt(n)
            others.append(coverage(table.mean(axis=1) - t, table.mean(axis=1) + t, truth))
            print(f"{name:30}{n:5}{found[-1]:13.3f}" + "".join(f"{o:12.3f}" for o in others))
    return found


def scipys(table: Floats, kind: str, truth: float) -> float:
    """Coverage of scipy.stats.bootstrap, 999 resamples; a study without an interval misses."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where BCa is not defined; such a study counts as a miss
        ends = scipy.stats.bootstrap(
            (table,),
            np.mean,
            axis=1,
            method=kind,
            n_resamples=999,
            batch=50,
            rng=np.random.default_rng(0),
        ).confidence_interval
    return coverage(ends.low, ends.high, truth)


def pairs(name: str) -> Draw:
    """Differences of two models that answer alike: what one of SHAPES gives, twice."""
    draw, _ = {**SHAPES, **CORNERS}[name]
    return lambda rng, size: draw(rng, size) - draw(rng, size)


def rejected(table: Floats, seed: int) -> float:
    """The share of studies that the sign-flip test calls different at 5%."""
    units = [f"{seed} p{i}" for i in range(table.shape[1])]
    found = sign_flip_tests([Column(row, units) for row in table], flips=4999).tests
    return float(np.mean([test.p_value is not None and test.p_value < 0.05 for test in found]))


def chunks(draw: Draw, rng: np.random.Generator, studies: int, n: int, effect: float) -> float:
    """The share of studies that are called different; flips are shared by 200 of them."""
    calls = []
    for start in range(0, studies, 200):
        table = draw(rng, (200, n))
        calls.append(rejected(table + effect, start))
    return float(np.mean(calls))


def false_positives(names: Iterable[str], studies: int) -> list[float]:
    found = []
    for name in names:
        for n in SIZES:
            found.append(chunks(pairs(name), stream(name, n, 1), studies, n, 0.0))
            print(f"{name:30}{n:5}{found[-1]:13.3f}")
    return found


def power_gaps(studies: int) -> list[float]:
    """Predicted less simulated power, in points."""
    found = []
    for name in SHAPES:
        many = pairs(name)(np.random.default_rng(0), (1000, 1000))
        wide, tails = float(many.std()), float(scipy.stats.kurtosis(many, axis=None))
        for n in SIZES:
            for effect in (2.0 / np.sqrt(n), 2.8 / np.sqrt(n)):
                rng = stream(name, n, 2)
                told = power(n, effect, kurtosis=tails)
                seen = chunks(pairs(name), rng, studies, n, effect * wide)
                found.append(100 * (told - seen))
                print(f"{name:30}{n:5}{effect:9.3f}{told:10.3f}{seen:11.3f}")
    return found


def of_seeds(studies: int) -> list[float]:
    """Coverage over prompts crossed with seeds, where either dominates."""
    found = []
    for seeds in (3, 5):
        for n in (30, 100):
            for prompts, between in ((1.0, 0.0), (1.0, 0.1), (1.0, 0.5)):
                rng = np.random.default_rng([seeds, n])
                ends = []
                for _ in range(studies):
                    table = (
                        prompts * rng.standard_normal((1, n))
                        + between * rng.standard_normal((seeds, 1))
                        + rng.standard_normal((seeds, n))
                    )
                    made = crossed_mean(table)
                    ends.append((made.low, made.high))
                low, high = np.array(ends).T
                found.append(coverage(low, high, 0.0))
                print(f"{seeds} seeds, their deviation {between:3.1f} {n:8}{found[-1]:13.3f}")
    return found


def best(work: Callable[[], object], peer: Callable[[], object], times: int) -> tuple[float, float]:
    """The least seconds of each, in turns."""
    seconds = [np.inf, np.inf]
    for _ in range(times):
        for i, run in enumerate((work, peer)):
            start = time.perf_counter()
            run()
            seconds[i] = min(seconds[i], time.perf_counter() - start)
    return seconds[0], seconds[1]


def resampled(table: Floats, seed: int, studentised: bool) -> Floats:
    """Ends of 10,000 real resamples of all rows at once, (2, rows)."""
    rng = np.random.default_rng(seed)
    rows, n = table.shape
    means = np.empty((RESAMPLES, rows))
    second = np.empty((RESAMPLES, rows))
    for start in range(0, RESAMPLES, 1000):
        drawn = rng.integers(0, n, (1000, n)) + n * np.arange(1000)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=1000 * n).reshape(1000, n).astype(float)
        means[start : start + 1000] = counts @ table.T / n
        if studentised:
            second[start : start + 1000] = counts @ (table.T**2) / n
    if not studentised:
        return np.quantile(means, [0.025, 0.975], axis=0)
    centre, spread = table.mean(axis=1), table.std(axis=1)
    t = (means - centre) / np.sqrt(second - means**2)
    high, low = np.quantile(t, [0.025, 0.975], axis=0)
    return np.array([centre - low * spread, centre - high * spread])


def speed() -> dict[str, float]:
    rng = np.random.default_rng(0)
    shapes = [draw for draw, _ in SHAPES.values()]
    table = np.concatenate(
        [shapes[i % len(shapes)](rng, (1, PROMPTS)) for i in range(METRICS * MODELS)]
    )
    ours, one_pass = best(lambda: mean_intervals(table), lambda: table.mean(axis=1), 400)
    drawn, sorting = best(lambda: resampled(table, 0, False), lambda: np.sort(table, axis=1), 3)
    column = table[0]
    start = time.perf_counter()
    scipy.stats.bootstrap(
        (column,), np.mean, n_resamples=RESAMPLES, method="percentile", batch=1000, rng=rng
    )
    scipys_seconds = (time.perf_counter() - start) * len(table)
    made = mean_intervals(table)
    ends, width = np.array([made.low, made.high]), made.high - made.low
    first, again = (resampled(table, seed, True) for seed in (1, 2))
    print(
        f"one pass {1e6 * one_pass:.0f} us, bootstrap-t of all {1e6 * ours:.0f} us (sorting the "
        f"rows first, as a run does, {1e6 * sorting:.0f} us more), 10,000 resamples of all "
        f"{1e3 * drawn:.0f} ms, scipy a row at a time {scipys_seconds:.1f} s"
    )
    return {
        "bootstrap_vs_one_pass": ours / one_pass,
        "resampled_vs_one_pass": drawn / one_pass,
        "scipy_vs_bootstrap": scipys_seconds / ours,
        "agreement": float((np.abs(ends - first).max(axis=0) / width).max()),
        "agreement_of_resamples": float((np.abs(again - first).max(axis=0) / width).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="400 studies a cell instead of 10,000")
    studies, slow = (400, 100) if parser.parse_args().quick else (10_000, 2000)
    begun = time.perf_counter()
    names = ("bootstrap-t", "percentile", "BCa", "t")
    print(f"{'coverage of 95%':30}{'n':>5}{names[0]:>13}" + "".join(f"{n:>12}" for n in names[1:]))
    covered = of_means(SHAPES, SIZES, 20_000, slow)
    print("\nwhere it does not hold")
    corners = of_means(CORNERS, SIZES, 20_000, slow)
    print(f"\n{'sign-flip test, no effect':30}{'n':>5}{'called':>13}")
    false = false_positives(SHAPES, studies)
    print("\nwhere ties cannot be told apart")
    few = false_positives([name for name in CORNERS if "values" in name], studies)
    print(f"\n{'power at 5%':30}{'n':>5}{'d_z':>9}{'predicted':>10}{'simulated':>11}")
    gaps = power_gaps(studies)
    print(f"\n{'seeds crossed with prompts':30}{'n':>5}{'coverage':>13}")
    seeds = of_seeds(min(studies, 2000))
    print()
    figures = {
        "coverage_min": min(covered),
        "coverage_max": max(covered),
        "corners_min": min(corners),
        "corners_max": max(corners),
        "false_positive_rate": float(np.mean(false)),
        "false_positive_min": min(false),
        "false_positive_max": max(false),
        "false_positive_corners_min": min(few),
        "power_gap_mean": float(np.mean(gaps)),
        "power_gap_max": max(map(abs, gaps)),
        "coverage_of_seeds_min": min(seeds),
        "coverage_of_seeds_max": max(seeds),
        **speed(),
        "studies": studies,
        "seconds": time.perf_counter() - begun,
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
