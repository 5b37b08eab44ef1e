"""The draw against the exact distribution."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from tofu_eval.core.types import Sampling
from tofu_eval.engines.sampler import Draw

VOCABULARY = 500
ROWS = 6000


def logits() -> NDArray[np.float64]:
    """A peaked row with a long tail; its rank order is shuffled."""
    rng = np.random.default_rng(0)
    return rng.permutation(-1.3 * np.log(np.arange(1, VOCABULARY + 1)))


def draw(
    row: NDArray[np.float64], seeds: Sequence[int], temperature: float = 1.0, top_p: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The drawn tokens and their log-probabilities for one row of logits under many seeds."""
    processor = Draw(seeds, Sampling(1, temperature, top_p))
    scores = torch.tensor(row, dtype=torch.float32).repeat(len(seeds), 1)
    left = processor(torch.empty(0), scores)
    assert (left.isfinite().sum(-1) == 1).all()
    return left.argmax(-1).numpy(), processor.logprobs[0].double().numpy()


def nucleus(
    row: NDArray[np.float64], temperature: float, top_p: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Exact probabilities after the cut, and which tokens it keeps: by sorting, in float64."""
    p = np.exp(row / temperature - np.logaddexp.reduce(row / temperature))
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    kept = np.zeros(len(row), dtype=bool)
    kept[order[before < top_p]] = True
    return np.where(kept, p, 0) / p[kept].sum(), kept


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_frequencies_are_the_softmax_cut_at_top_p(temperature: float, top_p: float) -> None:
    row = logits()
    tokens, _ = draw(row, range(ROWS), temperature, top_p)
    expected, kept = nucleus(row, temperature, top_p)
    assert kept[tokens].all()
    counts = np.bincount(tokens, minlength=VOCABULARY)
    common = expected * ROWS >= 5
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * ROWS
    filled = wanted > 0
    assert (counts[expected * ROWS >= 20] > 0).all()
    if filled.sum() > 1:
        assert stats.chisquare(observed[filled], wanted[filled]).pvalue > 0.001


def test_the_statistic_can_fail() -> None:
    """Uniforms that lean to one side are found at this number of rows."""
    row = logits()
    tokens, _ = draw(row, range(ROWS), temperature=1.05)
    expected, _ = nucleus(row, 1.0, 1.0)
    common = expected * ROWS >= 5
    counts = np.bincount(tokens, minlength=VOCABULARY)
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * ROWS
    assert stats.chisquare(observed, wanted).pvalue < 0.001


def test_logprob_is_the_models_own_whatever_the_decoder() -> None:
    row = logits()
    exact = row - np.logaddexp.reduce(row)
    for temperature, top_p in [(0, 1.0), (0.5, 0.8), (1.0, 0.8), (1.0, 1.0), (2.0, 1.0)]:
        tokens, logprobs = draw(row, range(200), temperature, top_p)
        np.testing.assert_allclose(logprobs, exact[tokens], atol=2e-6)


def test_the_limits_are_greedy() -> None:
    row = logits() * 100
    best = int(row.argmax())
    row += 300  # 300 / 1e-38 is more than float32 holds
    for temperature, top_p in [(0, 1.0), (1e-38, 1.0), (1.0, 1e-6), (5000.0, 1e-9)]:
        assert (draw(row, range(50), temperature, top_p)[0] == best).all()


def test_a_seed_decides_its_row() -> None:
    row = logits()
    tokens, _ = draw(row, range(100), top_p=0.9)
    shuffled = np.random.default_rng(1).permutation(100)
    again, _ = draw(row, [int(seed) for seed in shuffled], top_p=0.9)
    assert (again == tokens[shuffled]).all()
    assert len(set(tokens.tolist())) > 10
    # numpy 2.3.5: [Generator(Philox(key=s)).random(dtype=np.float32) for s in (0, 1, 2**32 - 1)]
    # gives uniforms that fall on these tokens of a flat row of ten.
    flat, _ = draw(np.zeros(10), [0, 1, 2**32 - 1])
    uniforms = [
        np.random.Generator(np.random.Philox(key=seed)).random(dtype=np.float32)
        for seed in (0, 1, 2**32 - 1)
    ]
    assert flat.tolist() == [int(uniform * 10) for uniform in uniforms]


def test_steps_are_independent() -> None:
    processor = Draw(range(4000), Sampling())
    row = torch.zeros(4000, 2)
    first, second = (processor(torch.empty(0), row.clone()).argmax(-1) for _ in range(2))
    table = np.histogram2d(first.numpy(), second.numpy(), bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_equals_at_the_edge_of_the_nucleus_stay_together() -> None:
    tokens, _ = draw(np.log([0.4, 0.2, 0.2, 0.2]), range(500), top_p=0.5)
    assert set(tokens.tolist()) == {0, 1, 2, 3}
    tokens, _ = draw(np.log([0.4, 0.2, 0.2, 0.2]), range(500), top_p=0.39)
    assert set(tokens.tolist()) == {0}


def test_impossible_tokens_are_not_drawn() -> None:
    row = np.where(np.arange(50) % 2 == 0, -np.inf, 0.0)
    tokens, _ = draw(row, range(500))
    assert (tokens % 2 == 1).all()
    processor = Draw([0], Sampling())
    lowest: Any = SimpleNamespace(random=lambda dtype: dtype(0))
    processor._streams = [lowest]
    assert int(processor(torch.empty(0), torch.tensor(row)[None].float()).argmax()) == 1


@pytest.mark.parametrize("temperature", [0, 0.7, 1.0])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_broken_logits_show_in_the_logprob(
    temperature: float, top_p: float, bad: list[float]
) -> None:
    processor = Draw([0], Sampling(1, temperature, top_p))
    processor(torch.empty(0), torch.tensor([bad]))
    assert not processor.logprobs[0].isfinite().any()
