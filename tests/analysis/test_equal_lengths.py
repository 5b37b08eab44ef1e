"""Whether a difference is more than one of lengths."""

import numpy as np
import pytest
import scipy.stats

from tofu_eval.analysis.equal_lengths import stands_at_equal_lengths


def lengths_of(ratios: np.ndarray) -> tuple[dict[int, float], dict[int, float]]:
    return dict(enumerate(100 * np.exp(ratios))), dict.fromkeys(range(len(ratios)), 100.0)


def ratios_about(mean: float, prompts: int, seed: int = 0) -> np.ndarray:
    return mean + 0.15 * np.random.default_rng(seed).standard_normal(prompts)


def test_what_length_makes_does_not_stand() -> None:
    ratios = ratios_about(0.15, 60)
    noise = np.random.default_rng(1).standard_normal(60)
    ours, theirs = lengths_of(ratios)
    of_length = dict(enumerate(-ratios + 0.05 * noise))
    assert scipy.stats.ttest_1samp(list(of_length.values()), 0).pvalue < 1e-6
    assert not stands_at_equal_lengths(of_length, ours, theirs)
    beyond = dict(enumerate(-0.2 - ratios + 0.05 * noise))
    assert stands_at_equal_lengths(beyond, ours, theirs)


def test_a_difference_that_changes_sides_does_not_stand() -> None:
    ratios = ratios_about(0.2, 60)
    ours, theirs = lengths_of(ratios)
    away = dict(enumerate(0.1 - 2 * ratios))
    assert np.mean(list(away.values())) < 0
    assert not stands_at_equal_lengths(away, ours, theirs)


@pytest.mark.parametrize(("ratio", "stands"), [(0.0, True), (0.1, False)])
def test_one_ratio_on_all_prompts(ratio: float, stands: bool) -> None:
    ours, theirs = lengths_of(np.full(30, ratio))
    assert stands_at_equal_lengths(dict.fromkeys(range(30), 1.0), ours, theirs) is stands


def test_copies_of_a_cluster_prove_nothing() -> None:
    ratios, noise = ratios_about(0.1, 12), np.random.default_rng(3).standard_normal(12)
    ours, theirs = lengths_of(np.repeat(ratios, 40))
    away = dict(enumerate(np.repeat(0.3 + noise, 40)))
    clusters = {i: f"c{i // 40}" for i in range(480)}
    assert stands_at_equal_lengths(away, ours, theirs)
    assert not stands_at_equal_lengths(away, ours, theirs, clusters=clusters)


@pytest.mark.parametrize("prompts", [12, 40])
def test_false_alarms_stay_below_the_level(prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    wrong = 0
    for _ in range(400):
        ratios = 0.15 + 0.15 * rng.standard_normal(prompts)
        ours, theirs = lengths_of(ratios)
        away = dict(enumerate(-ratios + 0.2 * rng.standard_exponential(prompts) - 0.2))
        wrong += stands_at_equal_lengths(away, ours, theirs)
    assert scipy.stats.binomtest(wrong, 400, 0.05, alternative="greater").pvalue > 0.01
