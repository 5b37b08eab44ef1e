"""Metrics of embeddings, classes, references and NLI against hand calculations and peers."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_eval.core.errors import ConfigError, MetricInputError
from tofu_eval.core.types import Group, Prompt
from tofu_eval.metrics import METRICS, find
from tofu_eval.metrics.centroid import centroid_distance
from tofu_eval.metrics.class_entropy import entropy_miller_madow
from tofu_eval.metrics.clusters import number_of_clusters
from tofu_eval.metrics.collision import collision_probability, collision_ratio
from tofu_eval.metrics.cosine import mean_pairwise_cosine_distance
from tofu_eval.metrics.distinct_k import distinct_k, max_class
from tofu_eval.metrics.effective_rank import effective_rank
from tofu_eval.metrics.hill import hill_number
from tofu_eval.metrics.log_determinant import log_determinant
from tofu_eval.metrics.nearest_neighbour import nearest_neighbour_distance
from tofu_eval.metrics.nli import nli_diversity, nli_sentence_diversity
from tofu_eval.metrics.references import reference_coverage, reference_diversity_distance
from tofu_eval.metrics.richness import chao1, distinct_at_k, good_turing_coverage, rarefaction
from tofu_eval.metrics.sequence_entropy import sequence_entropy
from tofu_eval.metrics.utility_k import utility_k
from tofu_eval.metrics.vendi import vendi, vendi_clipped
from tofu_eval.pipeline.score_groups import score

TWO_OF_THREE = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
"""Two rows of one direction and one at a right angle."""

COUNTS = [0] * 4 + [1] * 3 + [2] * 2 + [3] * 2 + [4] + [5] + [6]
"""Classes of 4, 3, 2, 2, 1, 1 and 1 of 14: f1 = 3, f2 = 2."""

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(40, 7))

classes = st.lists(st.integers(0, 4), min_size=2, max_size=9)
examples = settings(max_examples=60, deadline=None, derandomize=True)


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


def test_embeddings_by_hand() -> None:
    # c = (2/3, 1/3): |c| = sqrt(5)/3.
    assert centroid_distance(TWO_OF_THREE) == pytest.approx(1 - math.sqrt(5) / 3)
    # Singular values sqrt(2) and 1.
    p = np.array([math.sqrt(2), 1.0]) / (1 + math.sqrt(2))
    assert effective_rank(TWO_OF_THREE) == pytest.approx(math.exp(-(p @ np.log(p))))
    # det(I + X Xᵀ) = (1 + 2) (1 + 1) (1 + 0).
    assert log_determinant(TWO_OF_THREE) == pytest.approx(math.log2(6))
    # The two are each other's nearest at 0; the third is at 1.
    assert nearest_neighbour_distance(TWO_OF_THREE) == pytest.approx(1 / 3)
    assert number_of_clusters(TWO_OF_THREE) == 2.0
    assert number_of_clusters(TWO_OF_THREE, threshold=1.5) == 1.0


def test_embeddings_against_their_definitions() -> None:
    found, pairs = cosines(CLOUD), list(combinations(range(40), 2))
    naive = 1 - np.mean([found[i, j] for i, j in pairs])
    assert mean_pairwise_cosine_distance(CLOUD) == pytest.approx(naive, abs=1e-12)
    unit = CLOUD / np.linalg.norm(CLOUD, axis=1, keepdims=True)
    centre = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
    assert centroid_distance(CLOUD) == pytest.approx((1 - unit @ centre).mean(), abs=1e-12)
    nearest = (1 - found + 9 * np.eye(40)).min(axis=1).mean()
    assert nearest_neighbour_distance(CLOUD) == pytest.approx(nearest, abs=1e-12)
    _, logdet = np.linalg.slogdet(np.eye(40) + found)
    assert log_determinant(CLOUD) == pytest.approx(logdet / math.log(2), abs=1e-9)


def test_chunks_change_nothing() -> None:
    rows = RNG.normal(size=(2100, 3)).astype(np.float32)
    found = cosines(rows.astype(np.float64))
    mean = 1 - (found.sum() - 2100) / (2100 * 2099)
    assert mean_pairwise_cosine_distance(rows) == pytest.approx(mean, abs=1e-10)
    nearest = (1 - found + 9 * np.eye(2100)).min(axis=1).clip(0).mean()
    assert nearest_neighbour_distance(rows) == pytest.approx(nearest, abs=1e-10)
    with pytest.raises(MetricInputError, match="embedding of zeros"):
        mean_pairwise_cosine_distance(np.vstack([rows, np.zeros((1, 3), np.float32)]))


@pytest.mark.parametrize("q", [0.1, 0.5, 1.0, 2.0, math.inf])
def test_vendi_of_any_order_against_vendi_score(q: float) -> None:
    # The definition, on the n × n kernel; ours takes the d × d one.
    eigenvalues = np.linalg.eigvalsh(cosines(CLOUD) / 40)
    p = eigenvalues[eigenvalues > 1e-10]
    expected = {
        1.0: lambda: math.exp(-(p @ np.log(p))),
        math.inf: lambda: 1 / p.max(),
    }.get(q, lambda: (p**q).sum() ** (1 / (1 - q)))()
    assert vendi(CLOUD, q=q) == pytest.approx(expected, rel=1e-9)


def test_vendi_score_itself() -> None:
    peer = pytest.importorskip("vendi_score.vendi", reason="needs pip install vendi-score")
    for q in (0.5, 1.0, 2.0):  # for inf, score_K gives NaN; it wants the word "inf"
        assert vendi(CLOUD, q=q) == pytest.approx(peer.score_K(cosines(CLOUD), q=q), rel=1e-6)


def test_the_published_variants_of_2604_16027() -> None:
    # Its code: 1 - mean over i < j; exp of -sum e log e, e = eigenvalues of K/m clipped at 1e-12.
    e = np.clip(np.linalg.eigvalsh(cosines(CLOUD) / 40), 1e-12, None)
    assert vendi_clipped(CLOUD) == pytest.approx(math.exp(-(e @ np.log(e))), rel=1e-12)
    assert vendi_clipped(CLOUD) == pytest.approx(vendi(CLOUD), rel=1e-8)
    mean_distance = METRICS.get("mean_pairwise_cosine_distance")
    upper = cosines(CLOUD)[np.triu_indices(40, k=1)]
    assert mean_distance(CLOUD) == pytest.approx(1 - upper.mean(), abs=1e-12)


def test_classes_by_hand() -> None:
    # sum c (c - 1) = 12 + 6 + 2 + 2 = 22 of 14 * 13.
    assert collision_probability(COUNTS) == pytest.approx(22 / 182)
    # skbio.diversity.alpha.chao1([4, 3, 2, 2, 1, 1, 1]) of scikit-bio 0.7.4: 8.0
    assert chao1(COUNTS) == pytest.approx(7 + 3 * 2 / (2 * 3))
    # skbio.diversity.alpha.goods_coverage: 0.7857142857142857
    assert good_turing_coverage(COUNTS) == pytest.approx(11 / 14)
    assert hill_number(COUNTS, q=0.0) == 7.0
    # 1 / sum p^2 = 196 / 36; skbio.diversity.alpha.inv_simpson: 5.444444444444445
    assert hill_number(COUNTS, q=2.0) == pytest.approx(196 / 36)
    assert hill_number(COUNTS, q=math.inf) == pytest.approx(14 / 4)
    shares = np.array([4, 3, 2, 2, 1, 1, 1]) / 14
    entropy = -(shares @ np.log(shares))
    assert hill_number(COUNTS, q=1.0) == pytest.approx(math.exp(entropy))
    assert entropy_miller_madow(COUNTS) == pytest.approx(entropy + 6 / 28)
    assert (distinct_k(COUNTS), max_class(COUNTS)) == (7.0, 6.0)


@examples
@given(labels=classes)
def test_rarefaction_is_the_mean_over_all_subsets(labels: list[int]) -> None:
    curve = rarefaction(labels)
    for k in range(1, len(labels) + 1):
        exact = np.mean([len(set(subset)) for subset in combinations(labels, k)])
        assert curve[k - 1] == pytest.approx(exact, rel=1e-12)
        assert distinct_at_k(labels, k=k) == curve[k - 1]


def test_rarefaction_of_many() -> None:
    curve = rarefaction(list(range(5000)) + [0] * 5000)
    assert curve[0] == pytest.approx(1.0)
    assert curve[-1] == 5000.0
    assert (np.diff(curve) > 0).all()


@examples
@given(labels=classes)
def test_pairs_of_draws(labels: list[int]) -> None:
    """Two draws show 2 classes unless they collide."""
    assert distinct_at_k(labels, k=2) == pytest.approx(2 - collision_probability(labels))


def test_unbiased_over_all_samples() -> None:
    """The mean over every sample of 4 from a population of 3 and 1 is what it estimates."""
    p = {"a": 0.75, "b": 0.25}
    total = 0.0
    for word in np.ndindex(2, 2, 2, 2):
        sample = ["ab"[i] for i in word]
        total += math.prod(p[x] for x in sample) * collision_probability(sample)
    assert total == pytest.approx(0.75**2 + 0.25**2)


def test_texts_are_classes_up_to_white_space() -> None:
    assert collision_probability([" yes", "yes\n", "no"]) == pytest.approx(1 / 3)
    assert METRICS.get("chao1_exact")(("yes", "Yes")) == 3.0


def test_what_was_not_decided_is_undefined() -> None:
    with pytest.raises(MetricInputError, match=r"^the equivalence of 2 of 3 responses was not"):
        distinct_k([0, -1, -1])
    with pytest.raises(MetricInputError, match=r"^3 responses, fewer than k = 5$"):
        distinct_at_k([0, 1, 2], k=5)


def test_references() -> None:
    assert collision_ratio(["a", "a", "b"], ["a", "a", "a", "b"]) == pytest.approx((1 / 3) / 0.5)
    with pytest.raises(MetricInputError, match=r"^no two of the 2 references are the same$"):
        collision_ratio(["a", "a"], ["a", "b"])
    assert reference_coverage([0, 0, 1], [1, 2, 2, 3]) == pytest.approx(1 / 3)
    assert reference_coverage(["x ", "y"], ["x"]) == 1.0
    distance = reference_diversity_distance(TWO_OF_THREE, [[1.0, 0.0], [0.0, 1.0]])
    assert distance == pytest.approx(1 - 2 / 3)


def test_sequence_entropy() -> None:
    assert sequence_entropy([-1.0, -3.0]) == 2.0
    with pytest.raises(MetricInputError, match="above 0"):
        sequence_entropy([-1.0, 0.5])


def test_nli() -> None:
    assert nli_diversity([[0.5], [-0.25]]) == pytest.approx(0.125)
    # 1 - (2 + 1 + 1) / (4 + 2 + 2)
    assert nli_sentence_diversity([[2, 4], [1, 2], [1, 2]]) == pytest.approx(0.5)
    with pytest.raises(MetricInputError, match=r"^no two responses with a sentence$"):
        nli_sentence_diversity([[0, 0], [0, 0]])


def test_utility_by_hand() -> None:
    # u = 10, 0 (same class), 4; weights 1, 0.8, 0.64.
    levels = [10, 10, 4]
    assert utility_k([0, 0, 1], levels) == pytest.approx((10 + 0.64 * 4) / 2.44)
    assert utility_k([0, 0, 1], levels, patience=1.0) == pytest.approx(14 / 3)


def test_any_metric_among_good_responses() -> None:
    made = find("vendi[reward>=-3.5]")
    rewards = np.array([[-3.5], [-4.0], [1.0]])
    rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert made.needs == ("embedding", "reward")
    assert made(rows, rewards) == pytest.approx(2.0)
    assert made.signature({"embedding": "m", "reward": "r"}) == (
        "vendi[reward>=-3.5]|v:1|q:1.0|embedding:m|reward:r"
    )
    with pytest.raises(MetricInputError, match=r"^fewer than two responses pass \(1\)$"):
        made(rows, rewards - 1)
    for text in ("-7.718751", "1e-07", "3"):
        assert find(find(f"vendi[reward>={text}]").name).name == f"vendi[reward>={text}]"
    correct = find("distinct_1[correct]")
    assert correct([["a"], ["b"], ["a"]], [True, False, True]) == 0.5


def test_conditions_that_cannot_be() -> None:
    with pytest.raises(ConfigError) as caught:
        find("vendi[reward>3]")
    assert str(caught.value).startswith("Cannot read the condition of 'vendi[reward>3]'. Examples:")
    group = Group(Prompt.of_text("p", "?"), ("a", "b"), features={"correct": np.ones((2, 1))})
    with pytest.raises(ConfigError) as caught:
        score([group], metrics=["nli_diversity[correct]"])
    message = "'nli_diversity[correct]' needs 'nli', which is made of all pairs"
    assert str(caught.value).startswith(message)
